"""Two levels of memory: the table of the recurrence, and the best trees for every price of a step.

See ``policies.loops.two_level``; loops too long for the table of ``A`` are decided by the best
trees, as in ``policies.loops.hull``, which bound ``A`` from below.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.errors import InvalidProblem
from policies.loops.walk import FINENESS

__all__ = ["FAST", "SLOW", "LevelTables", "decide", "forget", "stays", "tables_of", "value"]

MOST_SUMS = 15_000_000
"""For the table of short segments, a tenth of a second."""

MOST_CELLS = 4_000_000
"""Of that table, and of the hull."""

FAST, SLOW = 0, 1


class LevelTables(NamedTuple):
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


@lru_cache(maxsize=2)
def tables_of(length: int, fast: int, slow: int, write: float, read: float) -> LevelTables:
    """Fill what is needed for a loop.

    Raises:
        InvalidProblem: too many slots and steps together.
    """
    states = 2 * (fast + 1) * (slow + 1)
    short = min(length, math.isqrt(MOST_SUMS // states), MOST_CELLS // states)
    exact = _exact(max(short, 1), fast, slow, write, read)
    empty = LevelTables(
        write, read, exact, np.empty((0, 1, 1, 2)), np.empty((0, 1, 1, 2), np.int64)
    )
    levels = 2 * FINENESS
    while short < length and levels * states <= MOST_CELLS:
        gain, leaves = (
            np.empty((levels, fast + 1, slow + 1, 2)),
            np.empty((levels, fast + 1, slow + 1, 2), np.int64),
        )
        used = int(_hull(gain, leaves, length, write, read))
        if used > 0:
            return LevelTables(write, read, exact, gain[:used], leaves[:used])
        levels *= 2
    if short < length:
        raise InvalidProblem(
            f"{length} steps with {fast} fast and {slow} slow slots is too much to plan: "
            "give more fast slots or fewer slow ones"
        )
    return empty


def forget() -> None:
    """Drop all tables: the next schedule makes its own."""
    tables_of.cache_clear()


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
def _level(tables: LevelTables, n: int, m: int, d: int, at: int) -> int:
    lowest, highest = 0, tables.gain.shape[0] - 1
    while lowest < highest:
        middle = (lowest + highest) // 2
        if tables.leaves[middle, m, d, at] >= n:
            highest = middle
        else:
            lowest = middle + 1
    return lowest


@njit(cache=True)
def value(tables: LevelTables, n: int, m: int, d: int, at: int) -> float:
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
def stays(tables: LevelTables, n: int, m: int, d: int, at: int) -> bool:
    """Whether a state that was read is better kept in fast memory from now on."""
    if at == 0 or m == 0 or d + 1 >= tables.exact.shape[1]:
        return False
    return value(tables, n, m - 1, d + 1, 0) < value(tables, n, m, d, 1)


@njit(cache=True)
def _sum(  # noqa: PLR0917 (arrays, for the inner loop)
    tables: LevelTables, n: int, m: int, d: int, at: int, k: int
) -> tuple[float, int]:
    """Give the time when ``k`` steps are passed over, and where their end is best stored."""
    left = value(tables, k, m, d, at)
    if at == 1 and m > 0 and d + 1 < tables.exact.shape[1]:
        left = min(left, value(tables, k, m - 1, d + 1, 0))
    right, to = np.inf, -1
    if k == n - 1:
        right = 0.0
    if m > 0:
        there = value(tables, n - k, m - 1, d, 0)
        if there < right:
            right, to = there, 0
    if d > 0:
        there = tables.write + value(tables, n - k, m, d - 1, 1)
        if there < right:
            right, to = there, 1
    return k + left + right + (tables.read if at == 1 else 0.0), to


@njit(cache=True)
def decide(tables: LevelTables, n: int, m: int, d: int, at: int) -> tuple[int, int]:
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
