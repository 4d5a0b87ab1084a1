"""Where the time of a step goes: every let timed by itself, on the thread that asks."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time_ns
from typing import Any

import numpy as np

from ckpt.codegen import arguments
from ckpt.codegen.executable import Executable
from ckpt.codegen.threads import one_thread


@dataclass(frozen=True, slots=True)
class Timed:
    """One run of a let.

    Attributes:
        let: its id.
        kernels: the names of the kernels that it calls, in order, each once.
        seconds: the least that it took.
        predicted_seconds: what the plan says.
    """

    let: int
    kernels: tuple[str, ...]
    seconds: float
    predicted_seconds: float


def profile(executable: Executable, *arrays: Any, repeat: int = 5) -> list[Timed]:
    """Time every step of a plan, one after another, as a plain run on one thread does.

    Each is called from Python, so that about a microsecond is added to each. Seconds are of the
    thread's processor time, which others that want the core do not change.

    Args:
        executable: what runs, in an arena of its own.
        arrays: the inputs.
        repeat: how many times the whole plan runs; the least of each step is taken.

    Raises:
        ArgumentError: an array differs from what was compiled.
    """
    program, plan, table = executable.program, executable.plan, executable.table
    ins, _ = arguments.inputs(program, arrays)
    outs = arguments.outputs(program, None, ins)
    arena = np.empty(plan.arena_bytes + 64, np.uint8)
    arena = arena[-arena.ctypes.data % 64 :]
    places = [arena, table.constants, *ins, *outs]
    words, entries = executable.records([p.ctypes.data for p in places])
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64)
    functions: dict[int, Callable[[int], None]] = {int(f): kind(int(f)) for f in set(entries[:, 0])}
    calls = [(functions[int(f)], int(record)) for f, record in entries]
    least = np.full(len(plan.steps), np.inf)
    with one_thread():
        for _ in range(repeat):
            took = np.zeros(len(plan.steps))
            for position, (function, record) in zip(table.positions, calls, strict=True):
                began = thread_time_ns()
                function(record)
                took[position] += thread_time_ns() - began
            least = np.minimum(least, took)
    del words
    names: list[dict[str, None]] = [{} for _ in plan.steps]
    for position, which in zip(table.positions, table.which, strict=True):
        names[position][table.kernels[which].name] = None
    return [
        Timed(step.let, tuple(names[i]), float(least[i]) * 1e-9, plan.lets[step.let].seconds)
        for i, step in enumerate(plan.steps)
    ]
