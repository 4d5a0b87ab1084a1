"""Experiments: models in plain NumPy, and jobs that YAML files describe.

    models/            one model per file: configuration, parameters, inputs, loss
    schema.py          what a job's YAML may say; source.py knows the line of every key
    run.py             `ckpt run CONFIG.yaml`: train under a budget, measure, write a run folder
    promise_benchmark  the table of budget, planned, arena and measured bytes
    demonstrations/    programs that people split by hand, split by `ckpt.partial_eval`
    optimizers.py      Adam and SGD in NumPy, so that they trace into the step
    data.py            the real digits and their fixed test split

This package may import `ckpt` and `policies`; neither of them imports it.
"""
