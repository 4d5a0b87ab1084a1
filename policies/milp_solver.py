"""Who solves a program: this process at once, or another one while this one goes on.

HiGHS cannot be interrupted, writes to standard output now and then, and may crash; a process of its
own can be stopped at any moment, is not heard, and takes nothing with it.  Programs and answers go
through pipes as plain arrays.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from policies.milp import Answer, Rows, minimise

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Here", "Program", "Solver", "There"]


@dataclass(frozen=True, slots=True)
class Program:
    """A program to minimise, as `milp.minimise` takes it, and when to stop."""

    cost: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    rows: Rows
    integral: NDArray[np.bool_] | None = None
    seconds: float | None = None
    nodes: int | None = None

    def minimise(self) -> Answer:
        """Solve it in this process."""
        return minimise(
            self.cost,
            self.lower,
            self.upper,
            self.rows,
            integral=self.integral,
            seconds=self.seconds,
            nodes=self.nodes,
        )


class Solver(Protocol):
    """Solves one program at a time."""

    def begin(self, program: Program) -> None:
        """Start on a program."""
        ...

    def answer(self) -> Answer | None:
        """Return the answer to the last program, or None while it is being solved.

        Raises:
            RuntimeError: The solver failed.
        """
        ...

    def close(self) -> None:
        """Stop at once."""
        ...


class Here:
    """Solves in this process when the answer is asked for.

    >>> rows = Rows()
    >>> rows.single([0], [1.0], 0.5, np.inf)
    >>> one = np.ones(1)
    >>> here = Here()
    >>> here.begin(Program(one, 0 * one, one, rows))
    >>> here.answer().bound
    0.5
    """

    def __init__(self) -> None:
        """Start without a program."""
        self._program: Program | None = None

    def begin(self, program: Program) -> None:
        """Remember the program."""
        self._program = program

    def answer(self) -> Answer | None:
        """Solve it."""
        return None if self._program is None else self._program.minimise()

    def close(self) -> None:
        """Forget it."""
        self._program = None


class There:
    """Solves in a process of its own.

    >>> rows = Rows()
    >>> rows.single([0], [1.0], 0.5, np.inf)
    >>> one = np.ones(1)
    >>> there = There()
    >>> there.begin(Program(one, 0 * one, one, rows))
    >>> while (found := there.answer()) is None:
    ...     pass
    >>> there.close()
    >>> found.bound
    0.5
    """

    def __init__(self) -> None:
        """Start without a process."""
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._received: dict[str, Any] | None = None

    def start(self) -> None:
        """Start the process, which takes a second, ahead of the first program."""
        if self._process is None:
            path = os.pathsep.join(place for place in sys.path if place)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "policies.milp_solver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the one who asks
            )

    def begin(self, program: Program) -> None:
        """Hand the program over."""
        self.start()
        matrix, low, high = program.rows.matrix(len(program.cost))
        optional: dict[str, Any] = {
            "integral": program.integral,
            "seconds": program.seconds,
            "nodes": program.nodes,
        }
        self._received = None
        # a large program is written while the process may still be starting
        parts = {
            "cost": program.cost, "lower": program.lower, "upper": program.upper,
            "starts": matrix.indptr, "columns": matrix.indices, "entries": matrix.data,
            "low": low, "high": high,
            **{name: value for name, value in optional.items() if value is not None},
        }  # fmt: skip
        self._reader = threading.Thread(target=self._exchange, args=(parts,), daemon=True)
        self._reader.start()

    def _exchange(self, parts: dict[str, Any]) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError, EOFError):  # it died: no answer comes
            _send(process.stdin, parts)
            self._received = _receive(process.stdout)

    def answer(self) -> Answer | None:
        """Return the answer if it has come."""
        if self._reader is None or self._reader.is_alive():
            return None
        got = self._received
        if got is None:
            code = None if self._process is None else self._process.poll()
            raise RuntimeError(f"the solver's process ended without an answer (exit status {code})")
        return Answer(
            got.get("x"),
            float(got["bound"]),
            bool(got["infeasible"]),
            bool(got["optimal"]),
            float(got["solve_seconds"]),
        )

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._reader is not None:
                self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = self._reader = None


def _send(stream: BinaryIO | Any, parts: dict[str, Any]) -> None:
    """Write arrays, after their length."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **parts)
    data = buffer.getvalue()
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def _receive(stream: BinaryIO | Any) -> dict[str, Any]:
    """Read arrays.

    Raises:
        EOFError: The other side is gone.
    """
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    data = stream.read(int.from_bytes(head, "little"))
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _serve() -> None:
    """Answer programs from standard input until it ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the solver prints is not for the pipe
    while True:
        try:
            got = _receive(sys.stdin.buffer)
        except EOFError:
            return
        found = minimise(
            got["cost"],
            got["lower"],
            got["upper"],
            Rows.of(got["starts"], got["columns"], got["entries"], got["low"], got["high"]),
            integral=got.get("integral"),
            seconds=float(got["seconds"]) if "seconds" in got else None,
            nodes=int(got["nodes"]) if "nodes" in got else None,
        )
        parts: dict[str, Any] = {
            "bound": found.bound, "infeasible": found.infeasible, "optimal": found.optimal,
            "solve_seconds": found.solve_seconds,
        }  # fmt: skip
        if found.x is not None:
            parts["x"] = found.x
        _send(out, parts)


if __name__ == "__main__":
    _serve()
