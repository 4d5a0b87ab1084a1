"""Experiments: models in plain NumPy, jobs and sweeps that YAML files describe, benchmarks.

    models/            one model per file: configuration, parameters, inputs, loss
    source.py          YAML in which every key knows its file and line; validation.py its errors
    schema.py, run.py  `ckpt run CONFIG.yaml`: train under a budget, measure, write a run folder
    sweep/             `ckpt sweep CONFIG.yaml`: axes, points, processes, the run folder, clusters
    points/            what a point of a sweep can be; graphs.py and programs.py are what it plans
    report/            `ckpt report`: one HTML page, plots, tables and verdicts
    supply.py          what is trained on: data.py digits, text.py a text, shapes.py images
    demonstrations/    programs that people split by hand, split by `ckpt.partial_eval`
    bench/             `ckpt bench`: gradient steps of ours, of JAX and of PyTorch side by side
    optimizers.py      Adam and SGD in NumPy, so that they trace into the step
    promise_benchmark  the table of budget, planned, arena and measured bytes

This package may import `ckpt` and `policies`; neither of them imports it.
"""
