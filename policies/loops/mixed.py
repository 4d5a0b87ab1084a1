"""Equal steps, states and residuals in one memory: whichever is worth keeping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from policies.errors import InvalidProblem
from policies.loops.actions import Schedule, Tape, checked_length
from policies.loops.binomial import Binomial, forward_steps
from policies.loops.count import count
from policies.loops.hull import hull_root, hull_rows
from policies.loops.table import exact_root, exact_rows, near_root, near_rows
from policies.loops.walk import Tables, envelope, first_frame, write

__all__ = ["LONGEST_EXACT", "Mixed", "bound", "forget", "least_advances"]

LONGEST_EXACT = 1000
"""Loops up to this many steps get their table, if it is not too large."""

MOST_CELLS = 16_000_000
"""Of a table, 32 bits each."""

MOST_SUMS = 80_000_000
"""For the table of a whole loop that is longer; less than ten milliseconds."""

NEAR_CELLS = 1_500_000
"""For the table of a whole loop that is nearly exact; 33 rows of 10,000 steps take 7 ms."""

SHORT_SUMS = 80_000_000
"""For the table of the short segments of a loop too long for a table."""


@dataclass(frozen=True, slots=True)
class Mixed(Schedule):
    """The fewest advances when memory may hold states or whole steps' residuals.

    The residuals of the step being reversed and the state in hand are beside this memory.

    Attributes:
        length: steps of the loop.
        units: of memory, the input of the loop aside.
        carry: units of a state.
        residual: units of the residuals of a step, of which its first state is a part if need be.

    Raises:
        InvalidProblem: a negative length or memory, or a size below 1.

    >>> schedule = Mixed(100, units=20, carry=1, residual=2)
    >>> schedule.advances, Binomial(100, 21).advances
    (94, 177)
    >>> print(*Mixed(3, units=3, carry=1, residual=2), sep=", ")
    advance 0 -> 1, record 1 [0], reverse 2, reverse 1 [0], restore 0 (input), reverse 0

    Source: the recurrence for equal costs is that of James R. Maddison. Step-based checkpointing
    with high-level algorithmic differentiation. Journal of Computational Science, 2024, and with
    sizes that of Olivier Beaumont, Lionel Eyraud-Dubois, Julien Herrmann, Alexis Joly, Alena
    Shilova. Optimal checkpointing for heterogeneous chains. 2019.
    """

    length: int
    units: int
    carry: int
    residual: int

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        checked_length(self.length)
        if self.units < 0 or min(self.carry, self.residual) < 1:
            raise InvalidProblem(
                f"{self.units} units of memory for states of {self.carry} and residuals of "
                f"{self.residual}: at least 0, 1 and 1"
            )

    @property
    def slots(self) -> int:
        """States that fit."""
        return min(self.units // self.carry, max(0, self.length - 2))

    @property
    def kept_slots(self) -> int:
        """Steps whose residuals fit."""
        return min(self.units // self.residual, max(0, self.length - 1))

    @property
    def advances(self) -> int:
        """Steps run without keeping residuals."""
        return _planned(self.length, self.units, self.carry, self.residual)[1]

    @property
    def fewest(self) -> int:
        """The optimum for loops in the table; else the convex envelope of the optimum."""
        return _planned(self.length, self.units, self.carry, self.residual)[2]

    def tapes(self, rows: int = 4096) -> Iterator[Tape]:
        """Write the actions piece by piece."""
        if not _planned(self.length, self.units, self.carry, self.residual)[0]:
            yield from Binomial(self.length, self.units // self.carry + 1).tapes(rows)
            return
        tables = _tables(self.length, self.units, self.carry, self.residual)
        counters, stack = first_frame(self.length, tables.root, self.slots + self.kept_slots + 2)
        while counters[0]:
            tape = np.empty((rows, 3), np.int32)
            yield tape[: write(tables, counters, stack, tape)]


def least_advances(length: int, units: int, residual: int) -> int:
    """Give what any schedule has to advance at the least, from one look at the forward sweep.

    When the last state is first reached, every step before it was either kept or advanced over.

    >>> least_advances(100, 20, 2)
    89
    """
    return max(0, length - 1 - units // residual) if length else 0


def bound(length: int, units: int, carry: int, residual: int) -> int:
    """Give a certified bound on the advances of any schedule, without making one.

    >>> bound(100_000, 64, 1, 6), Mixed(100_000, 64, 1, 6).advances
    (290627, 294455)
    """
    least = least_advances(length, units, residual)
    if _closed(length, units, carry, residual):
        return least
    hull = _bounding(length, _ceiling(units), carry, residual)
    if hull is None:
        return least
    tables = _with_root(units, carry, residual, _BARE, hull)
    return max(least, math.ceil(envelope(tables, length, tables.root)))


@lru_cache(maxsize=2)
def _bounding(length: int, ceiling: int, carry: int, residual: int) -> _Hull | None:
    rows = min(ceiling, length * residual // 2) + 1
    return hull_rows(length, rows, carry, residual, max(ceiling // 2 + 1, carry))


@lru_cache(maxsize=1024)
def _planned(length: int, units: int, carry: int, residual: int) -> tuple[bool, int, int]:
    """Give whether decisions are read from tables, the advances they lead to, and a bound on any.

    If not, states alone are stored.
    """
    units = _of_use(length, units, residual)
    fewest = least_advances(length, units, residual)
    if _one_checkpoint(length, units, residual):
        return True, fewest, fewest
    plain = forward_steps(length, units // carry + 1)
    if units < residual:
        return False, plain, plain  # there is nothing to choose
    if units < carry:
        batch = units // residual + 1  # comes back at a time, all from the input
        passes = (length - 1) // batch
        fewest = passes * length - batch * passes * (passes + 1) // 2
        return True, fewest, fewest
    tables = _tables(length, units, carry, residual)
    whole = tables.exact_root.size > length
    if whole and not tables.gain.size:
        fewest = int(tables.exact_root[length])
        return True, fewest, fewest
    if not tables.gain.size:
        return False, plain, fewest
    fewest = max(fewest, math.ceil(envelope(tables, length, tables.root)))
    found = int(tables.exact_root[length]) if whole else int(count(tables, length))
    return (True, found, fewest) if 0 <= found <= plain else (False, plain, fewest)


def _of_use(length: int, units: int, residual: int) -> int:
    """Give the memory without what is left over when all residuals are kept."""
    return min(units, max(0, length - 1) * residual)


def _one_checkpoint(length: int, units: int, residual: int) -> bool:
    """Whether what does not fit is passed over once and then fits, which is the least possible."""
    return length - 2 - units // residual <= units // residual


def _closed(length: int, units: int, carry: int, residual: int) -> bool:
    """Whether decisions need no tables."""
    return units < carry or _one_checkpoint(length, units, residual)


def _tables(length: int, units: int, carry: int, residual: int) -> Tables:
    """Give what decisions are read from."""
    units = _of_use(length, units, residual)
    exact, hull = _BARE, None
    if not _closed(length, units, carry, residual):
        exact, hull = _shared(length, _ceiling(units), carry, residual)
    return _with_root(units, carry, residual, exact, hull or (_NONE, _NONE, _NONE))


def _with_root(units: int, carry: int, residual: int, exact: _Exact, hull: _Hull) -> Tables:
    """Add the row of the whole loop."""
    root = max(exact.shape[0], hull[0].shape[1], units + 1)
    make = near_root if hull[0].size else exact_root
    row = make(exact, carry, residual, units) if exact.size else np.empty(0, np.int32)
    top = hull_root(*hull, residual, units) if hull[0].size else _NONE
    return Tables(carry, residual, units, root, exact, *hull, row, top)


def _ceiling(units: int) -> int:
    """Give the power of two from ``units`` on: loops with similar memory share their tables."""
    return 1 << max(units - 1, 0).bit_length()


@lru_cache(maxsize=2)
def _shared(length: int, ceiling: int, carry: int, residual: int) -> tuple[_Exact, _Hull | None]:
    """Fill the rows of all sizes of memory up to a ceiling: of the whole length, if it is short.

    If it is not, give the hull, and a nearly exact table of the whole length or, where that would
    take too long, an exact one of short segments.
    """
    rows = min(ceiling, length * residual // 2) + 1  # beyond that, one checkpoint is enough
    sums = rows * length * length // 2
    if rows * (length + 1) <= MOST_CELLS and (sums <= MOST_SUMS or length <= LONGEST_EXACT):
        return exact_rows(length, rows, carry, residual), None
    hull = _bounding(length, ceiling, carry, residual)
    if hull is None:
        return _BARE, None
    if rows * (length + 1) <= NEAR_CELLS:
        return near_rows(length, rows, carry, residual), hull
    short = min(length, math.isqrt(2 * SHORT_SUMS // rows), MOST_CELLS // rows - 1)
    return _BARE if short < 2 else exact_rows(short, rows, carry, residual), hull


def forget() -> None:
    """Drop all tables: the next schedule makes its own."""
    for kept in (_planned, _shared, _bounding):
        kept.cache_clear()


_Exact = NDArray[np.int32]
_Hull = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
_NONE = np.empty((0, 0), np.int64)
_BARE = np.empty((0, 0), np.int32)
