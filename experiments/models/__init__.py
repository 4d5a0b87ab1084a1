"""Models written with `import numpy as np`: what a user would write, and nothing for the compiler.

Each file holds one model: a `Config`, its `parameters` and `inputs` as shapes, and `make_loss`.
`MODEL` ties them together; `loss` and `example_inputs()` make `file.py:loss` work on the command
line. `registry.py` names them all.
"""
