"""From functions that users write to programs.

    numpy        trace: calls a function once with tracers, and what it does becomes lets
    arguments    a call taken apart: which leaves are traced, their types, paths and names
    tracing      the programs under construction, one per open trace
    tracer       what the function sees in place of an array
    lift, lets   from values to operands; one primitive at a time, dtypes as NumPy promotes them
    dispatch     tables from NumPy functions to rules; each file named for functions (ufuncs,
                 reductions, shapes, joining, products, linalg, ...) fills them when imported
    refusals     errors that name the function and the user's line, and say what to write instead

A new NumPy function is one entry in a table, made of primitives of `ckpt.ops`. A new frontend is
one file beside `numpy`; nothing after this package knows where a program came from.
"""
