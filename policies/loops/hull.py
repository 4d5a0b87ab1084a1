"""Loops too long for a table: the best trees for every price of a step, and what they certify.

A schedule is a tree with a step at each leaf; a step is advanced over as often as its path turns
left, and what its path turns right over, or keeps, is held.  Ask not for the cheapest tree with
``n`` leaves, but for the tree with the largest *gain*, when each leaf earns ``level`` advances less
those it costs.  Then both sides of a split are independent, and the largest gain for every memory
size and level takes a few operations each::

    gain(level, m) = max( level,  level + gain(level, m - r),
                          gain(level - 1, m) + gain(level, m - c) )

No tree with ``n`` leaves costs less than ``level * n - gain``, for any level: the convex envelope
of the optimum, in time independent of ``n``.  Trees of the largest gain meet it.  ``low`` and
``high`` are their fewest and most leaves, and between the two the bound is nearly always met too.
Levels go in quarters of an advance, and all figures are counted in quarters.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.loops.walk import FINENESS, rows_below

__all__ = ["MOST_CELLS", "hull_root", "hull_rows"]

MOST_CELLS = 4_000_000
"""Levels times rows; three 64-bit numbers each."""

_ENOUGH = 1 << 60


@njit(cache=True)
def _best(  # noqa: PLR0917 (arrays, for the inner loop)
    gain: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    level: int,
    kept: int,
    after: int,
    own: tuple[int, int, int],
) -> tuple[int, int, int]:
    """Give gain, low and high of a row at a level, from the rows below it and its level below."""
    best = level
    fewest = most = 1
    if kept >= 0:
        value = min(level + gain[level, kept], _ENOUGH)
        less, more = 1 + low[level, kept], min(1 + high[level, kept], _ENOUGH)
        if value > best:
            best, fewest, most = value, less, more
        elif value == best:
            fewest, most = min(fewest, less), max(most, more)
    if after >= 0 and level >= FINENESS:
        value = min(own[0] + gain[level, after], _ENOUGH)
        less = own[1] + low[level, after]
        more = min(own[2] + high[level, after], _ENOUGH)
        if value > best:
            best, fewest, most = value, less, more
        elif value == best:
            fewest, most = min(fewest, less), max(most, more)
    return best, fewest, most


@njit(cache=True)
def _fill(
    gain: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    carry: int,
    residual: int,
) -> None:
    levels, rows = gain.shape
    for level in range(levels):
        passed = max(level - FINENESS, 0)
        for row in range(rows):
            after, kept = rows_below(carry, residual, -1, rows, row)
            own = gain[passed, row], low[passed, row], high[passed, row]
            found = _best(gain, low, high, level, kept, after, own)
            gain[level, row], low[level, row], high[level, row] = found


@njit(cache=True)
def hull_root(
    gain: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    residual: int,
    units: int,
) -> NDArray[np.int64]:
    """Give gain, low and high of the whole loop with so many units of memory: i64[3, levels]."""
    root = np.zeros((3, gain.shape[0]), np.int64)
    for level in range(gain.shape[0]):
        passed = max(level - FINENESS, 0)
        own = root[0, passed], root[1, passed], root[2, passed]
        found = _best(gain, low, high, level, max(units - residual, -1), units, own)
        root[0, level], root[1, level], root[2, level] = found
    return root


def hull_rows(
    length: int, rows: int, carry: int, residual: int, units: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
    """Give gain, low and high for all ``m < rows``.

    Returns:
        Three i64[levels, rows], with as many levels as a loop of this length needs if it has so
        many units of memory or more; None if that is more than ``MOST_CELLS``.
    """
    levels = 2 * FINENESS
    while levels * rows <= MOST_CELLS:
        gain, low, high = (np.empty((levels, rows), np.int64) for _ in range(3))
        _fill(gain, low, high, carry, residual)
        reached = hull_root(gain, low, high, residual, units)[2] >= length
        if reached.any():
            needed = int(reached.argmax()) + 1
            return gain[:needed], low[:needed], high[:needed]
        levels *= 2
    return None
