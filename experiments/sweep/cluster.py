"""Points on a Dask cluster: one on this machine, or whatever a scheduler has workers on.

Every worker keeps a process beside it that starts points as a sweep on one machine does, so that
points are as fresh and as limited there. A worker that dies loses only what it was running; Dask
gives that to another. What is finished is written here, as it comes.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from typing import Any

from experiments.sweep.attempt import Task
from experiments.sweep.expand import Point
from experiments.sweep.store import Record

_ATTEMPTS = 5
"""Workers that may die over one point before it counts as the point's fault."""


class ClusterError(RuntimeError):
    """The cluster cannot be used, or was lost; the message says what to do."""


def run_there(tasks: Sequence[Task], where: str, jobs: int) -> Generator[Record]:
    """Run points on a cluster, and give the record of each as it finishes.

    Args:
        tasks: in the order in which they start.
        where: "local", or the address of a scheduler.
        jobs: workers of a local cluster.

    Raises:
        ClusterError: Dask is not installed, there is no scheduler, or it was lost.
    """
    try:
        import dask
        from distributed import Client, LocalCluster, as_completed
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        what = f"--dask needs distributed ({error}): pip install 'ckpt-compiler[cluster]'"
        raise ClusterError(what) from None
    lost = (FutureCancelledError, CommClosedError, OSError, TimeoutError)
    try:
        with dask.config.set({"distributed.scheduler.allowed-failures": _ATTEMPTS}):
            if where == "local":
                cluster = LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
                client = Client(cluster)
            else:
                cluster = None
                client = Client(where, timeout=20)
    except (*lost, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {where}: {error}") from None
    try:
        futures = {
            client.submit(_on_worker, _request(task), key=f"ckpt-{task.point.id}", pure=False): task
            for task in tasks
        }
        for future in as_completed(futures):
            task = futures[future]
            error = future.exception()
            if isinstance(error, FutureCancelledError):
                raise error
            yield _lost(task, error) if error is not None else _of(task, future.result())
            future.release()
    except lost as error:
        raise ClusterError(
            f"the scheduler at {where} was lost ({type(error).__name__}): finished points are "
            "kept; run the same command again to go on"
        ) from None
    finally:
        client.close(timeout=5)
        if cluster is not None:
            cluster.close(timeout=10)


def _request(task: Task) -> dict[str, Any]:
    return {
        "config": task.point.config,
        "changes": task.point.changes,
        "id": task.point.id,
        "time_limit": task.time_limit,
        "memory_limit": task.memory_limit,
    }


def _of(task: Task, record: Record) -> Record:
    return record | {"changes": task.point.changes}


def _lost(task: Task, error: BaseException) -> Record:
    """The record of a point whose workers died, or whose worker lacks what it needs."""
    return {
        "id": task.point.id,
        "config": task.point.config,
        "changes": task.point.changes,
        "status": "failed",
        "seconds": 0.0,
        "error": {"type": type(error).__name__, "message": str(error)},
    }


_server: subprocess.Popen[str] | None = None
_lock = threading.Lock()


def _on_worker(request: dict[str, Any]) -> Record:
    """Have the process beside this worker run a point.

    Dask's workers may not have children of their own, but may start programs.
    """
    global _server  # noqa: PLW0603  # one for each worker, for as long as it lives
    with _lock:
        if _server is None or _server.poll() is not None:
            _server = subprocess.Popen(
                [sys.executable, "-m", "experiments.sweep.serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        assert _server.stdin is not None
        assert _server.stdout is not None
        _server.stdin.write(json.dumps(request) + "\n")
        _server.stdin.flush()
        answer = _server.stdout.readline()
        if not answer:
            raise ClusterError("the process that starts points has ended")
        return json.loads(answer) | {"worker": _address()}


def _address() -> str:
    from distributed import get_worker

    return get_worker().address


def task_of(request: dict[str, Any]) -> Task:
    """The task that a request stands for."""
    from experiments.source import Document

    point = Point(Document(request["config"], {}), request["changes"], request["id"])
    return Task(point, request["time_limit"], request["memory_limit"])
