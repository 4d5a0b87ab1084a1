"""Equal steps, states in slots: the closed form of how few steps forward a loop needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np

from policies.errors import InvalidProblem
from policies.loops.actions import Schedule, Tape, checked_length
from policies.loops.walk import Tables, binomial_split, first_frame, write

__all__ = ["Binomial", "forward_steps", "split"]

_NONE = np.empty((0, 0), np.int64)
_BARE = np.empty((0, 0), np.int32)


def forward_steps(length: int, slots: int) -> int:
    """Give the fewest steps forward to run ``length`` steps back, the first run included.

    Args:
        length: steps of the loop.
        slots: states that may be kept at once beside the one in hand, the first one included.

    Returns:
        Steps forward in all; the step that is run back restarts from its own input.

    Raises:
        InvalidProblem: a length below zero, or no slot.

    Source: Andreas Griewank. Achieving logarithmic growth of temporal and spatial complexity in
    reverse automatic differentiation. Optimization Methods and Software, 1992.  José Grimm, Loïc
    Pottier, Nicole Rostaing-Schmidt. Optimal time and minimum space-time product for reversing a
    certain class of programs. 1996 (the closed form).

    >>> [forward_steps(10, slots) for slots in (1, 2, 3, 10)]
    [45, 20, 15, 9]
    """
    if length < 0 or slots < 1:
        raise InvalidProblem(f"a loop has {length} steps and {slots} slots: at least 0 and 1")
    if length == 0:
        return 0
    if slots == 1:
        return length * (length - 1) // 2
    repeats = 0
    reach = 1  # C(slots + repeats, slots)
    while reach < length:
        repeats += 1
        reach = reach * (slots + repeats) // repeats
    return repeats * length - comb(slots + repeats, slots + 1)


def split(length: int, slots: int) -> int:
    """Give after how many steps forward to fill the next slot.

    Raises:
        InvalidProblem: fewer than two steps, or fewer than two slots.

    >>> split(10, 3)
    4
    """
    if length < 2 or slots < 2:
        raise InvalidProblem("there is nothing to split")
    return int(binomial_split(length, slots))


@dataclass(frozen=True, slots=True)
class Binomial(Schedule):
    """The fewest advances when a step is reversed from its own first state.

    Attributes:
        length: steps of the loop.
        states: that may be kept at once beside the one in hand, the input of the loop included.

    Raises:
        InvalidProblem: a length below zero or beyond 2^31 - 2, or no state.

    >>> schedule = Binomial(3, 2)
    >>> print(*schedule, sep=", ")
    advance 0 -> 1, store 1 [0], advance 1 -> 2, reverse 2, restore 1 [0], free 1 [0], reverse 1, \
restore 0 (input), reverse 0
    >>> schedule.advances, Binomial(1000, 30).advances
    (2, 2472)
    """

    length: int
    states: int

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        checked_length(self.length)
        if self.states < 1:
            raise InvalidProblem(f"{self.states} states: the input of the loop is one, always")

    @property
    def slots(self) -> int:
        """States beside the input; never more than are of use."""
        return max(0, min(self.states, self.length - 1) - 1)

    @property
    def advances(self) -> int:
        """Steps run without keeping residuals: the closed form."""
        return forward_steps(self.length, self.states)

    @property
    def fewest(self) -> int:
        """The closed form is the optimum."""
        return self.advances

    def tapes(self, rows: int = 4096) -> Iterator[Tape]:
        """Write the actions piece by piece, in memory for as many frames as states."""
        root = max(1, min(self.states, self.length))
        none = Tables(
            1, 0, root - 1, root, _BARE, _NONE, _NONE, _NONE, np.empty(0, np.int32), _NONE
        )
        counters, stack = first_frame(self.length, root, root)
        while counters[0]:
            tape = np.empty((rows, 3), np.int32)
            yield tape[: write(none, counters, stack, tape)]
