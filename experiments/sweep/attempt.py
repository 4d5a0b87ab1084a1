"""One point in a process of its own: how it starts, how it is stopped, what is written of it.

Processes are forked from a server that has imported everything and computed nothing, so that a
fresh one costs milliseconds. A point can only talk through its pipe: it writes no file, so that
stopping it at any moment leaves nothing behind.

A record has these keys: id, config, changes, status ("ok" or "failed"), result or error (type,
message and, for bugs, where), seconds of the process, peak_bytes, started, seed, versions, machine.
"""

import contextlib
import json
import math
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from experiments.sweep.expand import Point
from experiments.sweep.store import Record

_LAST_WORDS = 2000
"""Characters of what a process printed that are kept when it dies."""

_SMALLEST_HEADROOM = 64 << 20
"""Bytes below which not even an error could be reported."""


def fork_server() -> ForkServerContext:
    """Where processes come from; the server starts with the first of them, or with `warm_up`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.sweep.preload"])
    return context


def warm_up() -> None:
    """Start the server now: it imports what points need while this process goes on."""
    fork_server()
    forkserver.ensure_running()


class StartError(RuntimeError):
    """No process can be started for a point."""


@dataclass(frozen=True, slots=True)
class Task:
    """A point that can run.

    Attributes:
        point: which one.
        time_limit: seconds after which it is stopped.
        memory_limit: bytes that it may take.
    """

    point: Point
    time_limit: float
    memory_limit: int


class Attempt:
    """A task that is running.

    Attributes:
        task: which one.
        deadline: when it is stopped, on the clock of `time.monotonic`.
        pipe: becomes readable when it is over.
    """

    def __init__(self, task: Task) -> None:
        context = fork_server()
        self.task = task
        self.pipe, theirs = context.Pipe(duplex=False)
        handle, name = tempfile.mkstemp(prefix="ckpt-point-")
        os.close(handle)
        self._said = Path(name)
        self._process = context.Process(
            target=_run, args=(theirs, task.point.config, task.memory_limit, name)
        )
        try:
            self._process.start()
        except EOFError:
            self._said.unlink()
            raise StartError(
                "the server that points are started from has ended: what it said stands above"
            ) from None
        theirs.close()
        self._began = time.monotonic()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self.deadline = self._began + task.time_limit

    def finish(self) -> Record:
        """Collect what it found, or why it did not."""
        try:
            outcome = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self._process.join()
            outcome = self._died()
        return self._record(outcome)

    def stop(self) -> Record:
        """End it now, with all processes that it started."""
        self.kill()
        what = f"stopped after its time limit of {self.task.time_limit:g} s"
        return self._record(_failure("TimeLimit", what))

    def kill(self) -> None:
        """End it now, and forget it."""
        self._end()
        self._release()

    def _end(self) -> None:
        pid = self._process.pid
        assert pid is not None
        for end in (os.killpg, os.kill):  # before it leads a group, it is alone
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(pid, signal.SIGKILL)

    def _died(self) -> Record:
        self._end()  # those that it started may live on
        code = self._process.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        last = self._said.read_text(errors="replace")[-_LAST_WORDS:].strip()
        words = f"; its last words: {last}" if last else ""
        hint = f" (its memory limit is {self.task.memory_limit} bytes)" if code < 0 else ""
        return _failure("Died", f"the process ended {how}{hint}{words}")

    def _release(self) -> None:
        self._process.join()
        self.pipe.close()
        self._said.unlink(missing_ok=True)

    def _record(self, outcome: Record) -> Record:
        self._release()
        return {
            "id": self.task.point.id,
            "config": self.task.point.config,
            "changes": self.task.point.changes,
            "started": self._started,
            "seconds": round(time.monotonic() - self._began, 4),
            **outcome,
        }


def _failure(kind: str, message: str, where: str = "") -> Record:
    error = {"type": kind, "message": message} | ({"where": where} if where else {})
    return {"status": "failed", "error": error}


def _run(pipe: Any, config: dict[str, Any], memory_limit: int, said: str) -> None:
    """What the process does: the point, and one message about it."""
    os.setsid()  # a group of its own: Ctrl-C at the terminal is the parent's to hear
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Path(said).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    outcome = _outcome(config, memory_limit)
    pipe.send_bytes(json.dumps(_plain(outcome), allow_nan=False).encode())
    pipe.close()


def _end_with_parent() -> None:
    """Whoever kills the sweep kills its points."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _outcome(config: dict[str, Any], memory_limit: int) -> Record:
    from experiments.points.registry import POINT
    from experiments.result import machine, versions

    about = {"seed": config.get("seed", 0), "versions": versions(), "machine": machine()}
    try:
        with limited_memory(memory_limit):
            found: Record = {"status": "ok", "result": POINT.validate_python(config).run()}
    except MemoryError:
        what = f"it needs more than its memory limit of {memory_limit} bytes"
        found = _failure("MemoryLimit", what)
    except Exception as error:  # noqa: BLE001  # a failure is a result
        found = _failure(type(error).__name__, str(error), traceback.format_exc(limit=-3))
    # kibibytes on Linux; the server's own pages count, for they were there at the fork
    return {
        **found,
        **about,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


@contextlib.contextmanager
def limited_memory(nbytes: int) -> Generator[None]:
    """Let this process take no more than so many bytes of data while the block lasts.

    Raises:
        OSError: this system cannot limit it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        raise OSError("memory limits need Linux: run the sweep there")
    data = next(line for line in status.read_text().splitlines() if line.startswith("VmData"))
    allowed = max(nbytes, int(data.split()[1]) * 1024 + _SMALLEST_HEADROOM)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        allowed = min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _plain(data: Any) -> Any:
    """Data as JSON has them: no infinities, tuples as lists, NumPy numbers as Python's."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "item") and not isinstance(data, str):
        data = data.item()
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
