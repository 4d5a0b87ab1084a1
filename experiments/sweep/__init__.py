"""Sweeps: from the YAML file of an experiment to a line of JSON for every point.

    header.py    question, references, what to report: the part of the file that is no point
    expand.py    axes, product, exclusions, explicit points, overrides; the id of a point
    tasks.py     points checked against what their kind may say; estimates
    attempt.py   one point in a fresh process: limits, failures, the record; preload.py what
                 processes are forked with
    local.py     so many at once on this machine
    cluster.py   the same on Dask; serve.py runs beside every worker
    store.py     the run folder: nothing half-written, nothing twice, one sweep at a time
    run.py       `ckpt sweep` itself: progress, Ctrl-C, the dry run
    export.py    CSV and Parquet; tracking.py MLflow

Reading a sweep that is finished loads neither `ckpt` nor `policies`.
"""
