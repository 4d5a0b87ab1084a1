"""Who watches the loops of a step while it runs.

The programs of a loop count their runs where a driver finds them (`ckpt.codegen.drivers.frame`),
and a step holds no lock of Python while it runs, so another thread can read how far it is. A step
that nobody watches pays for one look at a variable.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from ckpt.codegen.table import Ints
from ckpt.ir.program import Program
from ckpt.ops.loop import Scan
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.ops.while_loop import While
from ckpt.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Counted:
    """The loops of one step.

    Attributes:
        name: of the program.
        total: runs of their bodies, there and back; None if a loop is as long as it gets.
        runs: how many there were since the executable was made.
    """

    name: str
    total: int | None
    runs: Callable[[], int]


Watch = Callable[[Counted], AbstractContextManager[None]]
"""Told of a step with loops before it runs; the context ends when the step does."""

watching: ContextVar[Watch | None] = ContextVar("watching", default=None)
"""Who watches the steps of this thread or task."""


def counted(
    program: Program, plan: Plan, frames: tuple[tuple[Program, int], ...], words: Ints, at: int
) -> Counted | None:
    """The loops at the top of a program, or None if there is none.

    Args:
        program: what runs.
        plan: when its lets run.
        frames: of the programs that its ops hold, and where each begins in the words.
        words: of the records.
        at: the word of a frame that counts.
    """
    total: int | None = 0
    bodies: set[Program] = set()
    for step in plan.steps:
        op = program.eqns[step.let].op
        if isinstance(op, Scan):
            bodies.add(op.program)
            more = op.length
        elif isinstance(op, ScanReverse):
            bodies.update((op.advance, op.back))
            more = op.again + op.length if op.length else None
        elif isinstance(op, While):
            bodies.add(op.program)
            more = None
        else:
            continue
        total = None if total is None or more is None else total + more
    if not bodies:
        return None
    places = np.array([first + at for held, first in frames if held in bodies], np.int64)
    return Counted(program.name, total, lambda: int(words[places].sum()))
