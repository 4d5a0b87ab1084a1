"""What a point of an experiment can be, one kind per file: its keys, its estimate, its run.

plan     a policy on a graph, from a file or generated, under a budget
network  the gradient of a model, planned under a budget and not run
fit      the largest batch of a model that a budget holds
train    a model trained under a budget: the loss curve to the bit
work     the constants of the paper: forward, unzip and transpose over random programs
"""
