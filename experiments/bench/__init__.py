"""`ckpt bench`: gradient steps of ours, of JAX and of PyTorch, side by side.

`suite` names the workloads; `in_jax` and `in_torch` say them as the documentation of JAX and
PyTorch would. `contest` times the three in turns in one process, `alone` measures what one of them
needs in a process of its own, `worker` is what these processes run, and `command` starts them and
puts what they say into a table and a plot.
"""
