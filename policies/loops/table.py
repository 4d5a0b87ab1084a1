"""Fewest advances when the residuals of steps may be kept too: the table of the recurrence.

With ``m`` units of memory, of which a state that is come back to takes ``c`` and a step's residuals
take ``r``, and a segment's first state counted in ``m`` only if it is stored::

    A(1, m) = 0
    A(n, m) = min( A(n - 1, m - r),  min over k of  k + A(n - k, m - c) + A(k, m) )

The whole loop starts from its input, which needs no room and gives none when it is done with, so
its row is one of its own: ``m`` in place of ``m - c``.  The residuals of the step that is being
reversed, and the state in hand, are outside ``m``.

``A`` is not convex in ``n``, so every ``k`` is tried where the table is to be exact.  The best
``k`` for one more step is hardly ever far from the best ones before, so `near_rows` tries only
those near them: each of its figures is met by a schedule, and few are above the optimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.loops.walk import fitting, rows_below

__all__ = ["IMPOSSIBLE", "exact_root", "exact_rows", "near_root", "near_rows"]

IMPOSSIBLE = 1 << 29
"""Advances of a segment that its memory cannot reverse."""

_NEAR = 12
"""How far from the best passes of one step less others are tried."""


@njit(cache=True)
def _fill_row(
    mine: NDArray[np.int32],
    after: NDArray[np.int32],
    kept: NDArray[np.int32],
    all_of: int,
    beside: int,
) -> None:
    """Fill the row of one memory size.

    Args:
        mine: i32[N], to be filled.
        after: i32[N], the row of what follows a passed segment; empty if there is no room.
        kept: i32[N], the row of what follows a kept step; empty if there is no room.
        all_of: steps whose residuals fit.
        beside: steps whose residuals fit beside a stored first state; -1 if that does not fit.
    """
    most = mine.size - 1
    passed, turned = np.empty_like(mine), np.empty_like(mine)
    mine[:2] = 0
    passed[:2] = 1
    if after.size:
        turned[:] = after[::-1]
    for n in range(2, most + 1):
        if n - 1 <= all_of:
            best = 0
        elif beside >= 0 and n - 2 - beside <= all_of:
            best = n - 1 - beside  # what does not fit is passed over once, and then fits
        else:
            best = kept[n - 1] if kept.size else IMPOSSIBLE
            if after.size:
                left = passed[1:n]
                right = turned[most - n + 1 : most]
                least = np.int32(IMPOSSIBLE)
                for k in range(left.size):
                    least = min(least, left[k] + right[k])
                best = min(best, least)
        mine[n] = best
        passed[n] = min(n + best, IMPOSSIBLE)


@njit(cache=True)
def _ends(left: NDArray[np.int32], right: NDArray[np.int32], least: int) -> tuple[int, int]:
    """Give the first and the last place of a sum that is no more."""
    first, last = 0, left.size - 1
    while first < last and left[first] + right[first] > least:
        first += 1
    while last > first and left[last] + right[last] > least:
        last -= 1
    return first, last


@njit(cache=True)
def _fill_near(
    mine: NDArray[np.int32],
    after: NDArray[np.int32],
    kept: NDArray[np.int32],
    all_of: int,
    beside: int,
) -> None:
    """`_fill_row`, trying few passes for each length."""
    most = mine.size - 1
    passed, turned = np.empty_like(mine), np.empty_like(mine)
    mine[:2] = 0
    passed[:2] = 1
    if after.size:
        turned[:] = after[::-1]
    first = last = 1  # of the best passes for a step less
    for n in range(2, most + 1):
        if n - 1 <= all_of:
            best = 0
        elif beside >= 0 and n - 2 - beside <= all_of:
            best = first = last = n - 1 - beside
        else:
            best = kept[n - 1] if kept.size else IMPOSSIBLE
            if after.size:
                start = max(1, first - _NEAR)
                left = passed[start : min(n - 1, last + _NEAR) + 1]
                right = turned[most - n + start : most - n + start + left.size]
                least = np.int32(IMPOSSIBLE)
                for k in range(left.size):
                    least = min(least, left[k] + right[k])
                first, last = _ends(left, right, least)
                first += start
                last = min(start + last, first + 2 * _NEAR)
                best = min(best, least)
        mine[n] = best
        passed[n] = min(n + best, IMPOSSIBLE)


@njit(cache=True)
def exact_rows(length: int, rows: int, carry: int, residual: int) -> NDArray[np.int32]:
    """Fill ``A[m, n]`` for all ``m < rows`` and ``n <= length``.

    Args:
        length: steps of the loop.
        rows: sizes of memory, from 0 on.
        carry: units of a state, at least 1.
        residual: units of a step's residuals, at least 1.

    Returns:
        i32[rows, length + 1].
    """
    table = np.empty((rows, length + 1), np.int32)
    for row in range(rows):
        _fill(table, carry, residual, -1, row, table[row], False)
    return table


@njit(cache=True)
def near_rows(length: int, rows: int, carry: int, residual: int) -> NDArray[np.int32]:
    """`exact_rows`, trying few passes: figures that schedules meet, none below the optimum."""
    table = np.empty((rows, length + 1), np.int32)
    for row in range(rows):
        _fill(table, carry, residual, -1, row, table[row], True)
    return table


@njit(cache=True)
def exact_root(
    table: NDArray[np.int32], carry: int, residual: int, units: int
) -> NDArray[np.int32]:
    """Give the whole loop's own row with so many units of memory: i32[length + 1]."""
    mine = np.empty(table.shape[1], np.int32)
    _fill(table, carry, residual, units, table.shape[0], mine, False)
    return mine


@njit(cache=True)
def near_root(table: NDArray[np.int32], carry: int, residual: int, units: int) -> NDArray[np.int32]:
    """`exact_root`, trying few passes."""
    mine = np.empty(table.shape[1], np.int32)
    _fill(table, carry, residual, units, table.shape[0], mine, True)
    return mine


@njit(cache=True)
def _fill(  # noqa: PLR0917 (arrays, for the inner loop)
    table: NDArray[np.int32],
    carry: int,
    residual: int,
    units: int,
    row: int,
    mine: Any,
    near: bool,
) -> None:
    """Fill one row from those below it; the whole loop's is beyond the last."""
    root = table.shape[0]
    after, kept = rows_below(carry, residual, units, root, row)
    all_of, beside = fitting(carry, residual, units, root, row)
    none = table[0, :0]
    one = table[after] if after >= 0 else none
    other = table[kept] if kept >= 0 else none
    if near:
        _fill_near(mine, one, other, all_of, beside)
    else:
        _fill_row(mine, one, other, all_of, beside)
