"""Finished points as runs of MLflow, in a store on this machine."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.sweep.export import flat
from experiments.sweep.header import Header
from experiments.sweep.store import Record

_LONGEST = 500
"""Characters of a parameter that MLflow keeps."""


class TrackingError(RuntimeError):
    """Runs cannot be logged; the message says what to do."""


@contextmanager
def tracking(header: Header, store: str) -> Generator[Callable[[Record], None]]:
    """Log finished points to an MLflow experiment of the same name.

    Args:
        header: of the experiment.
        store: file:FOLDER or sqlite:///FILE.

    Yields:
        What to call with every record: parameters are its configuration, metrics its numbers, and
        the loss curve is a metric with steps.

    Raises:
        TrackingError: MLflow is not installed, or cannot use the store.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        what = f"--mlflow needs MLflow ({error}): pip install 'ckpt-compiler[mlflow]'"
        raise TrackingError(what) from None
    scheme = store.partition(":")[0]
    if scheme not in {"file", "sqlite"}:
        raise TrackingError(
            f"{store!r} is no store on this machine: write file:mlruns or sqlite:///mlflow.db"
        )
    if scheme == "file":
        # MLflow asks for this since it prefers databases; a folder is what was asked for
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        store = "file:" + str(Path(store.removeprefix("file:")).absolute())
    try:
        client = MlflowClient(tracking_uri=store)
        known = client.get_experiment_by_name(header.name)
        where = known.experiment_id if known else client.create_experiment(header.name)
    except (MlflowException, ImportError, OSError) as error:
        raise TrackingError(f"MLflow cannot use {store}: {error}") from None

    def log(record: Record) -> None:
        try:
            _log(client, where, header, record)
        except (MlflowException, OSError) as error:
            raise TrackingError(f"MLflow cannot write to {store}: {error}") from None

    yield log


def _log(client: Any, where: str, header: Header, record: Record) -> None:
    label = " ".join(f"{k}={v}" for k, v in record["changes"].items()) or header.name
    tags = {"point": record["id"], "commit": record["commit"], "question": header.question}
    run = client.create_run(where, run_name=label[:_LONGEST], tags=tags).info.run_id
    for key, value in flat(record["config"]).items():
        client.log_param(run, key, str(value)[:_LONGEST])
    result = record.get("result", {})
    for key, value in {**result, "point_seconds": record["seconds"]}.items():
        if isinstance(value, int | float):
            client.log_metric(run, key, float(value))
    for step, loss in enumerate(result.get("losses", ()), 1):
        client.log_metric(run, "loss", loss, step=step)
    if record["status"] == "ok":
        client.set_terminated(run, "FINISHED")
    else:
        client.set_tag(run, "error", record["error"]["message"][:_LONGEST])
        client.set_terminated(run, "FAILED")
