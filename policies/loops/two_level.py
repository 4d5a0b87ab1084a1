"""Equal steps, some states in fast memory and some in slow, which takes time to write and read.

``A(n, m, d, at)`` is the time, in steps, to reverse ``n`` steps whose first state is in hand and is
stored in fast or slow memory, with ``m`` and ``d`` free slots there, besides the reversals::

    A(1, ...) = 0
    A(n, m, d, at) = min( (n - 1) + back + A'(n - 1, m, d, at),
                          min over k of  k + A(n - k, m - 1, d, fast) + back + A'(k, m, d, at),
                          min over k of  k + write + A(n - k, m, d - 1, slow) + back + A'(k, ...) )
    A'(n, m, d, slow) = min( A(n, m, d, slow), A(n, m - 1, d + 1, fast) )

``back`` is the time of a read if the first state is in slow memory; a state that was read may stay
in fast memory instead.  Loops too long for the table of ``A`` are decided by the best trees for
every price of a step, as in ``policies.loops.hull``, which bound ``A`` from below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.errors import InvalidProblem
from policies.loops.actions import IN_HAND, INPUT, Kind, Schedule, Tape, checked_length
from policies.loops.binomial import forward_steps
from policies.loops.walk import FINENESS

__all__ = ["TwoLevel", "forget"]

MOST_SUMS = 15_000_000
MOST_CELLS = 4_000_000
_FAST, _SLOW = 0, 1


class _Tables(NamedTuple):
    """What decisions are read from.

    Attributes:
        write: seconds of a write, in steps.
        read: of a read.
        exact: f64[m, d, 2, N], ``A`` for short segments.
        gain: f64[levels, m, d, 2], the largest gain of a tree.
        leaves: i64[levels, m, d, 2], how many steps that tree has.
    """

    write: float
    read: float
    exact: NDArray[np.float64]
    gain: NDArray[np.float64]
    leaves: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TwoLevel(Schedule):
    """The least time when states may also go to slow memory.

    Copies are taken to be waited for.

    Attributes:
        length: steps of the loop.
        fast: slots in fast memory, the input of the loop, which is always there, aside.
        slow: slots in slow memory.
        write_steps: time of a write, in units of the time of a step.
        read_steps: time of a read, likewise.

    Raises:
        InvalidProblem: a negative length, slot or time, or one that is not finite.

    >>> [TwoLevel(100, 4, slow, 2.0, 2.0).steps for slow in (0, 5)]
    [316.0, 262.0]

    Source: Guillaume Aupy, Julien Herrmann, Paul Hovland, Yves Robert. Optimal multistage algorithm
    for adjoint computation. SIAM Journal on Scientific Computing, 2016 (the recurrence).
    """

    length: int
    fast: int
    slow: int
    write_steps: float
    read_steps: float

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        checked_length(self.length)
        times = (self.write_steps, self.read_steps)
        if min(self.fast, self.slow) < 0 or not all(0 <= t < math.inf for t in times):
            raise InvalidProblem(
                f"{self.fast} fast and {self.slow} slow slots, written in {times[0]} and read in "
                f"{times[1]} steps: none may be negative, and times are finite"
            )

    @property
    def slots(self) -> int:
        """States in fast memory."""
        return min(self.fast, max(0, self.length - 2))

    @property
    def slow_slots(self) -> int:
        """States in slow memory."""
        return min(self.slow, max(0, self.length - 2))

    @property
    def steps(self) -> float:
        """Advances, writes and reads together, in units of the time of a step."""
        advances, writes, reads = self._counts()
        return advances + writes * self.write_steps + reads * self.read_steps

    @property
    def fewest_steps(self) -> float:
        """No schedule with these slots takes less."""
        tables = self._tables()
        least = _value(tables, self.length, self.slots, self.slow_slots, _FAST)
        return float(least) if self.length > 1 else 0.0

    @property
    def advances(self) -> int:
        """Steps run, without those that are reversed from."""
        return self._counts()[0]

    @property
    def fewest(self) -> int:
        """What as many slots of fast memory allow."""
        return forward_steps(self.length, 1 + self.slots + self.slow_slots)

    def tapes(self, rows: int = 4096) -> Iterator[Tape]:
        """Write the actions piece by piece."""
        piece: list[tuple[int, int, int]] = []
        for action in self._walk():
            piece.append(action)
            if len(piece) == rows:
                yield np.array(piece, np.int32)
                piece.clear()
        if piece:
            yield np.array(piece, np.int32)

    def _tables(self) -> _Tables:
        return _filled(self.length, self.slots, self.slow_slots, self.write_steps, self.read_steps)

    def _counts(self) -> tuple[int, int, int]:
        """Count advances, writes and reads; equal segments are counted once."""
        if self.length < 2:
            return 0, 0, 0
        tables = self._tables()
        known: dict[tuple[int, int, int, int], tuple[int, int, int]] = {}
        todo = [(self.length, self.slots, self.slow_slots, _FAST)]
        while todo:
            state = todo[-1]
            n, m, d, at = state
            if n == 1:
                known[state] = (0, 0, 0)
            if state in known:
                todo.pop()
                continue
            k, to = _decide(tables, *state)
            stays = _stays(tables, k, m, d, at)
            left = (k, m - 1, d + 1, _FAST) if stays else (k, m, d, at)
            right = _right(n - k, m, d, to)
            if left not in known or right not in known:
                todo.extend((left, right))
                continue
            both = (a + b for a, b in zip(known[left], known[right], strict=True))
            extra = (k, int(to == _SLOW), int(at == _SLOW))
            advances, writes, reads = (a + b for a, b in zip(both, extra, strict=True))
            known[state] = (advances, writes, reads)
        return known[self.length, self.slots, self.slow_slots, _FAST]

    def _walk(self) -> Iterator[tuple[int, int, int]]:
        """Give the rows of the tape."""
        if not self.length:
            return
        tables = self._tables()
        depth = [0, 0]
        put, take, free = _KINDS
        decided: dict[tuple[int, int, int, int], tuple[int, int]] = {}
        # start, steps, free slots, where the first state is, its slot, to be fetched from there
        todo = [(0, self.length, self.slots, self.slow_slots, _FAST, INPUT, False)]
        while todo:
            start, n, m, d, at, slot, fetched = todo.pop()
            if fetched:
                yield take[at], start, slot
                if _stays(tables, n, m, d, at):
                    yield Kind.STORE, start, depth[_FAST]
                    yield Kind.ERASE, start, slot
                    m, d, at, slot = m - 1, d + 1, _FAST, depth[_FAST]
                    depth[_FAST] += 1
                    depth[_SLOW] -= 1
            if n == 1:
                if slot >= 0:
                    yield free[at], start, slot
                    depth[at] -= 1
                yield Kind.REVERSE, start, IN_HAND
                continue
            state = (n, m, d, at)
            if state not in decided:
                if len(decided) > 1 << 16:
                    decided.clear()
                decided[state] = _decide(tables, *state)
            k, to = decided[state]
            yield Kind.ADVANCE, start, start + k
            todo.append((start, k, m, d, at, slot, True))
            if to < 0:
                yield Kind.REVERSE, start + k, IN_HAND
                continue
            yield put[to], start + k, depth[to]
            _, m, d, _ = _right(n - k, m, d, to)
            todo.append((start + k, n - k, m, d, to, depth[to], False))
            depth[to] += 1


_KINDS = (
    (Kind.STORE, Kind.WRITE),
    (Kind.RESTORE, Kind.READ),
    (Kind.FREE, Kind.ERASE),
)


def _right(n: int, m: int, d: int, to: int) -> tuple[int, int, int, int]:
    """Give the state of the segment after a passed one whose end was stored there, or nowhere."""
    if to < 0:
        return (1, 0, 0, _FAST)
    return (n, m - 1, d, _FAST) if to == _FAST else (n, m, d - 1, _SLOW)


@lru_cache(maxsize=8)
def _filled(length: int, fast: int, slow: int, write: float, read: float) -> _Tables:
    states = 2 * (fast + 1) * (slow + 1)
    short = min(length, math.isqrt(MOST_SUMS // states), MOST_CELLS // states)
    exact = _exact(max(short, 1), fast, slow, write, read)
    empty = _Tables(write, read, exact, np.empty((0, 1, 1, 2)), np.empty((0, 1, 1, 2), np.int64))
    levels = 8 * FINENESS
    while short < length and levels * states <= 4 * MOST_CELLS:
        gain, leaves = (
            np.empty((levels, fast + 1, slow + 1, 2)),
            np.empty((levels, fast + 1, slow + 1, 2), np.int64),
        )
        used = int(_hull(gain, leaves, length, write, read))
        if used > 0:
            return _Tables(write, read, exact, gain[:used], leaves[:used])
        levels *= 4
    if short < length:
        raise InvalidProblem(
            f"{length} steps with {fast} fast and {slow} slow slots is too much to plan: "
            "give more fast slots or fewer slow ones"
        )
    return empty


def forget() -> None:
    """Drop all tables: the next schedule makes its own."""
    _filled.cache_clear()


@njit(cache=True)
def _exact(length: int, fast: int, slow: int, write: float, read: float) -> NDArray[np.float64]:
    """Fill ``A`` for all segments up to a length: f64[fast + 1, slow + 1, 2, length + 1]."""
    table = np.zeros((fast + 1, slow + 1, 2, length + 1))
    for n in range(2, length + 1):
        for m in range(fast + 1):
            for d in range(slow + 1):
                for at in range(2):
                    back = read if at == 1 else 0.0
                    kept = at == 1 and m > 0 and d < slow
                    best = np.inf
                    for k in range(1, n):
                        left = table[m, d, at, k]
                        if kept:
                            left = min(left, table[m - 1, d + 1, 0, k])
                        right = np.inf
                        if k == n - 1:
                            right = 0.0
                        if m > 0:
                            right = min(right, table[m - 1, d, 0, n - k])
                        if d > 0:
                            right = min(right, write + table[m, d - 1, 1, n - k])
                        best = min(best, k + back + left + right)
                    table[m, d, at, n] = best
    return table


@njit(cache=True)
def _hull(
    gain: NDArray[np.float64], leaves: NDArray[np.int64], length: int, write: float, read: float
) -> int:
    """Fill level after level until the loop fits; give how many that took, or -1."""
    levels, rows, columns, _ = gain.shape
    for level in range(levels):
        price = level / FINENESS
        below = level - FINENESS
        for m in range(rows):
            for d in range(columns):
                for at in range(2):
                    best, most = price, 1
                    if below >= 0:
                        left, many = gain[below, m, d, at], leaves[below, m, d, at]
                        if at == 1:
                            if m > 0 and d + 1 < columns and gain[below, m - 1, d + 1, 0] >= left:
                                left = gain[below, m - 1, d + 1, 0]
                                many = leaves[below, m - 1, d + 1, 0]
                            left -= read
                        right, more = price, 1
                        if m > 0 and gain[level, m - 1, d, 0] >= right:
                            right, more = gain[level, m - 1, d, 0], leaves[level, m - 1, d, 0]
                        if d > 0 and gain[level, m, d - 1, 1] - write > right:
                            right = gain[level, m, d - 1, 1] - write
                            more = leaves[level, m, d - 1, 1]
                        if left + right >= best:
                            best, most = left + right, min(many + more, 1 << 60)
                    gain[level, m, d, at], leaves[level, m, d, at] = best, most
        if leaves[level, rows - 1, columns - 1, 0] >= length:
            return level + 1
    return -1


@njit(cache=True)
def _level(tables: _Tables, n: int, m: int, d: int, at: int) -> int:
    lowest, highest = 0, tables.gain.shape[0] - 1
    while lowest < highest:
        middle = (lowest + highest) // 2
        if tables.leaves[middle, m, d, at] >= n:
            highest = middle
        else:
            lowest = middle + 1
    return lowest


@njit(cache=True)
def _value(tables: _Tables, n: int, m: int, d: int, at: int) -> float:
    """Give ``A``, or for long segments a lower bound on it, as far as the levels reach."""
    if n < tables.exact.shape[3]:
        return tables.exact[m, d, at, n]
    level = _level(tables, n, m, d, at)
    best = level / FINENESS * n - tables.gain[level, m, d, at]
    if level > 0:
        best = max(best, (level - 1) / FINENESS * n - tables.gain[level - 1, m, d, at])
    beyond = max(0.0, float(n - tables.leaves[level, m, d, at]))
    return best + beyond * beyond  # dearer than any level: such segments are not for this memory


@njit(cache=True)
def _stays(tables: _Tables, n: int, m: int, d: int, at: int) -> bool:
    """Whether a state that was read is better kept in fast memory from now on."""
    if at == 0 or m == 0 or d + 1 >= tables.exact.shape[1]:
        return False
    return _value(tables, n, m - 1, d + 1, 0) < _value(tables, n, m, d, 1)


@njit(cache=True)
def _sum(  # noqa: PLR0917 (arrays, for the inner loop)
    tables: _Tables, n: int, m: int, d: int, at: int, k: int
) -> tuple[float, int]:
    """Give the time when ``k`` steps are passed over, and where their end is best stored."""
    left = _value(tables, k, m, d, at)
    if at == 1 and m > 0 and d + 1 < tables.exact.shape[1]:
        left = min(left, _value(tables, k, m - 1, d + 1, 0))
    right, to = np.inf, -1
    if k == n - 1:
        right = 0.0
    if m > 0:
        there = _value(tables, n - k, m - 1, d, 0)
        if there < right:
            right, to = there, 0
    if d > 0:
        there = tables.write + _value(tables, n - k, m, d - 1, 1)
        if there < right:
            right, to = there, 1
    return k + left + right + (tables.read if at == 1 else 0.0), to


@njit(cache=True)
def _decide(tables: _Tables, n: int, m: int, d: int, at: int) -> tuple[int, int]:
    """Say how many steps to pass over first, and where to store their end: -1 for nowhere."""
    best, choice, to = np.inf, n - 1, -1
    if n < tables.exact.shape[3]:
        for k in range(n - 1, 0, -1):
            time, where = _sum(tables, n, m, d, at, k)
            if time < best:
                best, choice, to = time, k, where
        return choice, to
    best, to = _sum(tables, n, m, d, at, n - 1)
    level = _level(tables, n, m, d, at)
    last = min(level + FINENESS, tables.gain.shape[0] - 1)
    for near in range(max(level - 2 * FINENESS, 0), last + 1):
        for which in range(4):
            if which == 0:
                k = tables.leaves[near, m, d, at]
            elif which == 1 and m > 0:
                k = n - tables.leaves[near, m - 1, d, 0]
            elif which == 2 and d > 0:
                k = n - tables.leaves[near, m, d - 1, 1]
            elif which == 3 and m > 0 and d + 1 < tables.exact.shape[1]:
                k = tables.leaves[near, m - 1, d + 1, 0]
            else:
                continue
            if 1 <= k < n:
                time, where = _sum(tables, n, m, d, at, k)
                if time < best:
                    best, choice, to = time, k, where
    return choice, to
