"""What the schedule of a loop is made of.

A loop makes state after state, ``x_0``, ``x_1``, ..., ``x_n``, and comes back over its steps from
the last to the first.  Coming back over step ``i`` needs what the step leaves behind (its
residuals), which running the step again from ``x_i`` gives.  One state is in hand at a time; others
wait in slots.  A schedule says, action by action, which steps to run, what to put into a slot, what
to take out, and when to come back over which step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.errors import InvalidProblem

__all__ = [
    "INPUT",
    "IN_HAND",
    "LONGEST",
    "Action",
    "Kind",
    "Schedule",
    "Tape",
    "checked_length",
    "pieces",
    "sweep",
]

INPUT = -1
"""As the slot of a restore: the input of the loop, ``x_0``, which is always there."""

IN_HAND = -1
"""As the slot of a reverse: no residuals were kept, the step starts from the state in hand."""

LONGEST = 2**31 - 2
"""Most steps of a loop: tapes have 32-bit entries."""

Tape = NDArray[np.int32]
"""i32[rows, 3]: kind, step, and where: the step an advance ends at, or a slot."""


class Kind(IntEnum):
    """What an action does.

    Attributes:
        ADVANCE: run steps without keeping what they leave behind; the state moves on.
        STORE: put a copy of the state in hand into a slot.
        RESTORE: take the state in hand from a slot, which keeps it.
        FREE: empty a slot.
        RECORD: run one step and keep its residuals in a slot; the state moves on.
        REVERSE: come back over one step, from kept residuals, which are freed, or from the state
            in hand.
        WRITE: like STORE, into a slot of slow memory.
        READ: like RESTORE, from there.
        ERASE: like FREE, there.
    """

    ADVANCE = 0
    STORE = 1
    RESTORE = 2
    FREE = 3
    RECORD = 4
    REVERSE = 5
    WRITE = 6
    READ = 7
    ERASE = 8


class Action(NamedTuple):
    """One row of a tape.

    Slots of states, of residuals and of slow memory are counted apart, each from 0.

    Attributes:
        kind: what to do.
        step: the step run, or that the state in hand is the input of.
        where: for an advance the step it ends at, else a slot, ``INPUT`` or ``IN_HAND``.

    >>> print(Action(Kind.ADVANCE, 0, 4))
    advance 0 -> 4
    >>> print(Action(Kind.REVERSE, 9, IN_HAND))
    reverse 9
    """

    kind: Kind
    step: int
    where: int

    def __str__(self) -> str:
        name = self.kind.name.lower()
        if self.kind is Kind.ADVANCE:
            return f"{name} {self.step} -> {self.where}"
        if self.where < 0:
            return f"{name} {self.step}" + (" (input)" if self.kind is Kind.RESTORE else "")
        return f"{name} {self.step} [{self.where}]"


class Schedule(ABC):
    """The schedule of a loop: a small value from which the actions follow, as many as there are.

    Attributes:
        length: steps of the loop.
        slots: of states in fast memory, the input of the loop, which is always there, aside.
        kept_slots: of residuals.
        slow_slots: of states in slow memory.
        advances: steps run without keeping residuals.
        fewest: no schedule with the same memory has fewer advances.
    """

    length: int

    @property
    @abstractmethod
    def slots(self) -> int:
        """States held at once, beside the input and the one in hand."""

    @property
    def kept_slots(self) -> int:
        """Steps whose residuals are held at once, beside those of the step being reversed."""
        return 0

    @property
    def slow_slots(self) -> int:
        """States held in slow memory at once."""
        return 0

    @property
    @abstractmethod
    def advances(self) -> int:
        """Steps run without keeping residuals."""

    @property
    @abstractmethod
    def fewest(self) -> int:
        """A certified lower bound on the advances of any schedule with this memory."""

    @abstractmethod
    def tapes(self, rows: int = 4096) -> Iterator[Tape]:
        """Give the actions in pieces of at most so many rows, made as they are asked for."""

    def tape(self) -> Tape:
        """Give all actions at once."""
        pieces = list(self.tapes(1 << 16))
        return np.concatenate(pieces) if pieces else np.empty((0, 3), np.int32)

    def __iter__(self) -> Iterator[Action]:
        for piece in self.tapes():
            for kind, step, where in piece.tolist():
                yield Action(Kind(kind), step, where)


def sweep(schedule: Schedule) -> Tape:
    """Give the actions before the first reverse: the forward sweep, less its last step.

    >>> from policies.loops.binomial import Binomial
    >>> for row in sweep(Binomial(10, 3)).tolist():
    ...     print(Action(Kind(row[0]), row[1], row[2]))
    advance 0 -> 4
    store 4 [0]
    advance 4 -> 7
    store 7 [1]
    advance 7 -> 9
    """
    pieces: list[Tape] = []
    for piece in schedule.tapes(256):
        found = np.flatnonzero(piece[:, 0] == Kind.REVERSE)
        pieces.append(piece[: found[0]] if found.size else piece)
        if found.size:
            break
    return np.concatenate(pieces) if pieces else np.empty((0, 3), np.int32)


def pieces(actions: Iterator[tuple[int, int, int]], rows: int) -> Iterator[Tape]:
    """Gather actions into tapes of at most so many rows."""
    while piece := list(islice(actions, rows)):
        yield np.array(piece, np.int32)


def checked_length(length: int) -> int:
    """Give the length back if a loop may have it.

    Raises:
        InvalidProblem: below zero, or beyond what a tape can say.
    """
    if not 0 <= length <= LONGEST:
        raise InvalidProblem(f"a loop has 0 to {LONGEST} steps, not {length}")
    return length
