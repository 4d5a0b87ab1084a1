"""The machine that writes tapes: it walks the tree of a schedule with as many frames as slots.

A segment of a loop starts with its first state in hand.  One step is reversed from there.  Of more,
either the first is run with its residuals kept, or the state is advanced by some steps, the rest is
reversed from there, and then, from the first state again, the segment that was passed over.

What a segment may use is a *row*: so many units of memory, or the row of the whole loop, whose
first state is the input and needs no slot.  ``decide`` says what is done with a number of steps in
a row; it reads nothing but arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.loops.actions import IN_HAND, INPUT, Kind

__all__ = [
    "FINENESS",
    "KEEP",
    "Tables",
    "below",
    "binomial_split",
    "decide",
    "envelope",
    "first_frame",
    "fits",
    "fitting",
    "rows_below",
    "write",
]

KEEP = 0
"""As a decision: the first step is run with its residuals kept; else, how many are passed over."""

FINENESS = 4
"""Levels per advance in a hull: its corners between whole prices."""

UNSTORED = -2
_NODE, _LEFT, _UNWIND = 0, 1, 2
_ADVANCE, _STORE, _RESTORE, _FREE, _RECORD, _REVERSE = (
    int(k) for k in (Kind.ADVANCE, Kind.STORE, Kind.RESTORE, Kind.FREE, Kind.RECORD, Kind.REVERSE)
)
_INPUT, _IN_HAND = INPUT, IN_HAND


class Tables(NamedTuple):
    """What decisions are read from; rows are sizes of memory, and the whole loop has its own.

    Attributes:
        carry: units of a state.
        residual: units of a step's residuals; 0 if they are never kept.
        units: of memory, the input of the loop aside.
        root: the row of the whole loop, beyond all others.
        exact: i32[rows, N], fewest advances of ``n < N`` steps; N is 0 without a table.
        gain: i64[levels, rows], see ``policies.loops.hull``; no levels without a hull.
        low: i64[levels, rows], likewise.
        high: i64[levels, rows], likewise.
        exact_root: i32[N], the row of the whole loop.
        hull_root: i64[3, levels], its gain, low and high.
    """

    carry: int
    residual: int
    units: int
    root: int
    exact: NDArray[np.int32]
    gain: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    exact_root: NDArray[np.int32]
    hull_root: NDArray[np.int64]


@njit(cache=True)
def rows_below(carry: int, residual: int, units: int, root: int, row: int) -> tuple[int, int]:
    """Give the rows of what comes after a passed segment and after a kept step; -1 if no room."""
    if row == root:
        after = units
        kept = units - residual
    else:
        after = row - carry
        kept = row - residual
    return max(after, -1), max(kept, -1) if residual > 0 else -1


@njit(cache=True)
def fitting(carry: int, residual: int, units: int, root: int, row: int) -> tuple[int, int]:
    """Give how many steps' residuals fit, alone and beside a stored first state (-1: none do)."""
    if residual == 0:
        return 0, -1
    if row == root:
        return units // residual, units // residual
    return row // residual, (row - carry) // residual if row >= carry else -1


@njit(cache=True)
def below(tables: Tables, row: int) -> tuple[int, int]:
    """Give ``rows_below`` in these tables."""
    return rows_below(tables.carry, tables.residual, tables.units, tables.root, row)


@njit(cache=True)
def fits(tables: Tables, row: int) -> tuple[int, int]:
    """Give ``fitting`` in these tables."""
    return fitting(tables.carry, tables.residual, tables.units, tables.root, row)


@njit(cache=True)
def binomial_split(length: int, slots: int) -> int:
    """Give the fewest steps to pass over that are best for ``slots`` states, the first one's too.

    A step more costs ``r`` advances between C(s + r - 1, s) and C(s + r, s) steps, so passing over
    is best wherever both parts stand at the same marginal cost.
    """
    if slots == 1:
        return length - 1
    if slots == 2:
        r = int((np.sqrt(8.0 * length + 1.0) - 3.0) / 2.0)
        while (r + 2) * (r + 1) // 2 < length:
            r += 1
        while r > 1 and (r + 1) * r // 2 >= length:
            r -= 1
        return max(1, r * (r - 1) // 2, length - r - 1)
    r = 1
    reach = slots + 1  # C(s + r, s)
    while reach < length:
        r += 1
        reach = reach * (slots + r) // r
    below = reach * r // (slots + r)  # C(s + r - 1, s)
    left = below * (r - 1) // (slots + r - 1)  # C(s + r - 2, s)
    right = reach - below  # C(s + r - 1, s - 1)
    return max(1, left, length - right)


@njit(cache=True)
def _exact(tables: Tables, length: int, row: int) -> int:
    return tables.exact_root[length] if row == tables.root else tables.exact[row, length]


@njit(cache=True)
def _hull(tables: Tables, level: int, row: int) -> tuple[int, int, int]:
    """Give gain, low and high."""
    if row == tables.root:
        there = tables.hull_root
        return there[0, level], there[1, level], there[2, level]
    return tables.gain[level, row], tables.low[level, row], tables.high[level, row]


@njit(cache=True)
def _level(tables: Tables, length: int, row: int) -> int:
    """Give the first level whose largest trees have so many leaves, or the last level."""
    lowest, highest = 0, tables.gain.shape[0] - 1
    while lowest < highest:
        middle = (lowest + highest) // 2
        if _hull(tables, middle, row)[2] >= length:
            highest = middle
        else:
            lowest = middle + 1
    return lowest


@njit(cache=True)
def envelope(tables: Tables, length: int, row: int) -> float:
    """Give the certified bound on the advances of a segment: the best of all levels' lines."""
    if row < tables.carry and row != tables.root and length > 1 + fits(tables, row)[0]:
        return 1e18  # no room for a state to come back to, nor for all residuals
    level = _level(tables, length, row)
    best = level * length - _hull(tables, level, row)[0]
    if level > 0:
        best = max(best, (level - 1) * length - _hull(tables, level - 1, row)[0])
    return max(best, 0) / FINENESS


@njit(cache=True)
def _guess(tables: Tables, length: int, row: int) -> float:
    if length < tables.exact.shape[1]:
        return float(_exact(tables, length, row))
    last = tables.gain.shape[0] - 1
    beyond = max(0.0, float(length - _hull(tables, last, row)[2]))
    # beyond the last level a segment is dearer than the bound tells: not for this memory
    return envelope(tables, length, row) + beyond * beyond


@njit(cache=True)
def _from_exact(tables: Tables, length: int, row: int) -> int:
    after, kept = below(tables, row)
    best = _exact(tables, length, row)
    if kept >= 0 and tables.exact[kept, length - 1] == best:
        return KEEP
    for k in range(1, length):
        if k + tables.exact[after, length - k] + _exact(tables, k, row) == best:
            return k
    return KEEP


@njit(cache=True)
def _from_hull(tables: Tables, length: int, row: int) -> int:
    """Pass over as many steps as the bounds of both parts add up best for.

    The sum of two convex bounds is least where one of them has a corner, and near the level at
    which the whole stands.
    """
    after, kept = below(tables, row)
    target = envelope(tables, length, row)
    best = _guess(tables, length - 1, kept) if kept >= 0 else np.inf
    choice = KEEP
    if after < 0 or best <= target:
        return choice
    level = _level(tables, length, row)
    last = min(level + FINENESS, tables.gain.shape[0] - 1)
    for near in range(last, max(level - 2 * FINENESS, 0) - 1, -1):
        _, low, high = _hull(tables, near, row)
        for which in range(4):
            if which == 0:
                k = high
            elif which == 1:
                k = low
            elif which == 2:
                k = length - tables.low[near, after]
            else:
                k = length - tables.high[near, after]
            if 1 <= k < length:
                steps = k + _guess(tables, length - k, after) + _guess(tables, k, row)
                if steps < best:
                    best = steps
                    choice = k
                    if best <= target:
                        return choice
    return choice


@njit(cache=True)
def decide(tables: Tables, length: int, row: int) -> int:
    """Say what to do first with at least two steps: keep one, or pass over how many."""
    all_of, beside = fits(tables, row)
    if length - 1 <= all_of:
        return KEEP
    if beside >= 0 and length - 2 - beside <= all_of:
        return length - 1 - beside  # what does not fit is passed over once, and then fits
    if tables.units < tables.carry and row == tables.root and tables.residual > 0:
        return length - 1 - all_of  # from the input again and again
    if length < tables.exact.shape[1]:
        return _from_exact(tables, length, row)
    if tables.gain.shape[0] > 0:
        return _from_hull(tables, length, row)
    return binomial_split(length, row)


def first_frame(length: int, root: int, frames: int) -> Any:
    """Give the state of the machine before its first action: counters, and a stack of frames."""
    stack = np.zeros((frames + 3, 5), np.int64)
    counters = np.zeros(3, np.int64)
    if length > 0:
        stack[0] = (_NODE, 0, length, root, INPUT)
        counters[0] = 1
    return counters, stack


@njit(cache=True)
def write(tables: Tables, counters: NDArray[np.int64], stack: NDArray[np.int64], tape: Any) -> int:
    """Go on writing actions until the tape is full or the loop has come back; give the rows."""
    rows = 0
    top, depth, kept_depth = counters[0], counters[1], counters[2]
    while top > 0 and rows + 3 <= tape.shape[0]:
        top -= 1
        tag, start, length, row, slot = stack[top]
        if tag == _UNWIND:
            kept_depth -= 1
            tape[rows, 0], tape[rows, 1], tape[rows, 2] = _REVERSE, start, slot
            rows += 1
            continue
        if tag == _LEFT:
            tape[rows, 0], tape[rows, 1], tape[rows, 2] = _RESTORE, start, slot
            rows += 1
        choice = decide(tables, length, row) if length > 1 else KEEP
        if choice == KEEP and slot >= 0:  # nobody comes back to this state
            tape[rows, 0], tape[rows, 1], tape[rows, 2] = _FREE, start, slot
            rows += 1
            depth -= 1
        if length == 1:
            tape[rows, 0], tape[rows, 1], tape[rows, 2] = _REVERSE, start, _IN_HAND
            rows += 1
            continue
        after, kept = below(tables, row)
        if choice == KEEP:
            tape[rows, 0], tape[rows, 1], tape[rows, 2] = _RECORD, start, kept_depth
            rows += 1
            stack[top] = (_UNWIND, start, 0, 0, kept_depth)
            stack[top + 1] = (_NODE, start + 1, length - 1, kept, UNSTORED)
            kept_depth += 1
        else:
            if slot == UNSTORED:
                slot = depth
                tape[rows, 0], tape[rows, 1], tape[rows, 2] = _STORE, start, slot
                rows += 1
                depth += 1
            tape[rows, 0], tape[rows, 1], tape[rows, 2] = _ADVANCE, start, start + choice
            rows += 1
            stack[top] = (_LEFT, start, choice, row, slot)
            stack[top + 1] = (_NODE, start + choice, length - choice, after, UNSTORED)
        top += 2
    counters[0], counters[1], counters[2] = top, depth, kept_depth
    return rows
