"""How many advances the decisions for a loop lead to, without writing them out."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.loops.walk import KEEP, Tables, below, decide, fits

__all__ = ["MOST_SEGMENTS", "count"]

MOST_SEGMENTS = 1 << 16
"""Segments that differ in length or memory."""


@njit(cache=True)
def _place(keys: NDArray[np.int64], key: int) -> int:
    """Give where a key is, or would be put."""
    mask = keys.size - 1
    place = ((key * 0x9E3779B97F4A7C1) >> 20) & mask
    while keys[place] not in {key, -1}:
        place = (place + 1) & mask
    return place


@njit(cache=True)
def count(tables: Tables, length: int) -> int:
    """Count the advances of a loop; segments of the same length and memory are counted once.

    Returns:
        Advances, or -1 if more than ``MOST_SEGMENTS`` segments differ.
    """
    width = tables.root + 1
    keys = np.full(2 * MOST_SEGMENTS, -1, np.int64)
    values = np.zeros(2 * MOST_SEGMENTS, np.int64)
    stack = np.empty(4 * MOST_SEGMENTS, np.int64)
    stack[0] = length * width + tables.root
    top, known = 1, 0
    while top > 0:
        key = stack[top - 1]
        if known == MOST_SEGMENTS or top + 2 > stack.size:
            return -1
        place = _place(keys, key)
        if keys[place] == key:
            top -= 1
            continue
        n, row = key // width, key % width
        total = 0
        if n - 1 > fits(tables, row)[0]:
            k = decide(tables, n, row)
            after, kept = below(tables, row)
            first = (n - 1) * width + kept if k == KEEP else (n - k) * width + after
            second = first if k == KEEP else k * width + row
            one, two = _place(keys, first), _place(keys, second)
            if keys[one] != first or keys[two] != second:
                stack[top], stack[top + 1] = first, second
                top += 2
                continue
            total = values[one] if k == KEEP else k + values[one] + values[two]
        keys[place], values[place] = key, total
        known += 1
        top -= 1
    return values[_place(keys, length * width + tables.root)]
