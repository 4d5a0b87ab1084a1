"""Traces: the programs under construction, innermost last, and what they close over."""

import threading
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ckpt.errors import TraceError
from ckpt.frontends.source import quoted, user_line
from ckpt.ir.build import Builder
from ckpt.ir.op import Op
from ckpt.ir.program import Atom, SourceLine, Var
from ckpt.ir.types import Type


class Trace:
    """One program under construction, from the call of the user's function to its return.

    Attributes:
        builder: where lets go.
        constants: the values that the function closed over, in the order of their first use:
            arrays, and tracers of traces around this one. Each is an input of the program, after
            the arguments.
    """

    def __init__(self, name: str) -> None:
        self.builder = Builder(name)
        self.constants: list[Any] = []
        self._vars: dict[int, Var] = {}
        self._sums: list[tuple[int, SourceLine | None]] = []

    def emit(self, op: Op, *ins: Atom) -> tuple[Var, ...]:
        """Append a let that carries the user's line."""
        self.builder.source = user_line()
        return self.builder.emits(op, *ins)

    def constant(self, value: Any, type: Type) -> Var:  # noqa: A002
        """The input that stands for a value from outside; one per object."""
        var = self._vars.get(id(value))
        if var is None:
            var = self.builder.input(type, f"c{len(self.constants)}")
            self._vars[id(value)] = var
            # The list keeps the object alive, so that its id stays its own.
            self.constants.append(value)
            self._sums.append((_checksum(value), user_line()))
        return var

    def check_constants(self) -> None:
        """Refuse closed-over arrays that were written to while the function was traced.

        The program reads a constant by reference, once it runs; a function that uses an array,
        changes it and goes on would otherwise silently get the changed values everywhere.

        Raises:
            TraceError: a closed-over array changed between its first use and now.
        """
        for value, (before, source) in zip(self.constants, self._sums, strict=True):
            if _checksum(value) != before:
                raise TraceError(
                    f"an array of shape {value.shape} was changed in place after a traced use of "
                    f"it at {quoted(source)}\n"
                    "  The traced program would read the changed values. Use a copy: "
                    "`buffer = buffer.copy()` before writing to it."
                )


class _Stack(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace] = []


_STACK = _Stack()


def current() -> Trace | None:
    """The innermost trace of this thread, if any."""
    return _STACK.traces[-1] if _STACK.traces else None


def is_open(trace: Trace) -> bool:
    """Whether a trace is still under construction in this thread."""
    return trace in _STACK.traces


@contextmanager
def tracing(name: str) -> Generator[Trace]:
    """Open a trace inside the present one; it closes at the end of the block."""
    trace = Trace(name)
    _STACK.traces.append(trace)
    try:
        yield trace
    finally:
        _STACK.traces.pop()


def _checksum(value: Any) -> int:
    """A sum over the bytes of an array; 0 for what cannot change."""
    if not isinstance(value, np.ndarray) or not value.size:
        return 0
    return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
