"""What `ckpt inspect` and `ckpt frontier` show: a program at every stage, plans over time.

    subject    a traced function, what it is differentiated by, and the program to plan
    stages     its text at each stage between tracing and planning
    graph      the dataflow graph that policies see: table, JSON, DOT
    kernels    what each let that runs reads, writes and computes
    timeline   memory over time: text and a picture
    frontier   peak bytes against seconds: points and a picture
    figure     the one place that imports matplotlib

Plans and texts come out of here; files and progress are the command line's.
"""
