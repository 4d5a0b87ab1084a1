"""Where buffers stand in the arena: first-fit over several orders, then a local search.

Two buffers that live at one step must not overlap. First-fit places buffers one after another, in
a given order, each at the lowest gap; the result depends on the order, so several are tried. If
none reaches the bound (the most bytes alive at one step), a local search moves a buffer that
touches the top to an earlier place in the order and places all of them again.

Source: the orders are those of greedy-by-size and its relatives in Pisarchyk, Lee, "Efficient
Memory Management for Deep Neural Net Inference", MLSys 2020 workshop; the search on orders is
ours. Its limit is work, not time, so that every machine finds the same offsets.
"""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from ckpt.plan.live import ALIGNMENT, LiveRange, most_alive

_WORK = 200_000_000
"""Pair inspections that the search may spend: about a third of a second."""

_ROUNDS = 4_000
"""Most placements that the search may try."""

Ints = np.ndarray[Any, np.dtype[np.int64]]


def offsets(ranges: Sequence[LiveRange], n_steps: int) -> list[int]:
    """A place in bytes for each live range, aligned; ranges alive together do not overlap.

    Complexity: O(n²) per placement; about 5 ms for 2,000 ranges.
    """
    if not ranges:
        return []
    sizes = np.array([-(-r.nbytes // ALIGNMENT) for r in ranges], np.int64)
    starts = np.array([r.start for r in ranges], np.int64)
    stops = np.array([r.stop for r in ranges], np.int64)
    bound = most_alive(ranges, n_steps, ALIGNMENT) // ALIGNMENT
    best: Ints | None = None
    best_order = np.arange(len(ranges))
    best_height = -1
    for order in _orders(sizes, starts, stops):
        placed = np.empty(len(ranges), np.int64)
        height = int(_first_fit(order, sizes, starts, stops, placed))
        if best is None or height < best_height:
            best, best_order, best_height = placed, order, height
        if height == bound:
            break
    assert best is not None
    if best_height > bound:
        rounds = min(_ROUNDS, _WORK // len(ranges) ** 2)
        _search(best_order.copy(), sizes, starts, stops, best, bound, rounds)
    return [int(offset) * ALIGNMENT for offset in best]


def _orders(sizes: Ints, starts: Ints, stops: Ints) -> list[Ints]:
    """Orders to place buffers in; ties fall to the earlier and then to the lower number."""
    length = stops - starts
    keys = (
        (starts, -sizes),  # the largest first
        (starts, -sizes * length),  # the largest area first
        (-sizes, -length),  # the longest-lived first
        (-sizes, starts),  # as they are made
        (starts, -stops),  # as they die, backwards
    )
    return [np.lexsort(key).astype(np.int64) for key in keys]


@numba.njit(cache=True)
def _first_fit(
    order: Ints, sizes: Ints, starts: Ints, stops: Ints, placed: Ints
) -> int:  # pragma: no cover (compiled)
    """Place buffers in an order, each at the lowest gap; returns the height."""
    n = order.size
    by_offset = np.empty(n, np.int64)  # buffers placed so far, lowest first
    height: Any = 0
    for count in range(n):
        b = order[count]
        start, stop, size = starts[b], stops[b], sizes[b]
        at = 0
        for i in range(count):
            other = by_offset[i]
            if starts[other] < stop and start < stops[other]:
                if placed[other] >= at + size:
                    break
                at = max(at, placed[other] + sizes[other])
        placed[b] = at
        height = max(height, at + size)
        i = count
        while i > 0 and placed[by_offset[i - 1]] > at:
            by_offset[i] = by_offset[i - 1]
            i -= 1
        by_offset[i] = b
    return height


@numba.njit(cache=True)
def _copy(source: Ints, to: Ints) -> None:  # pragma: no cover (compiled)
    """`to[:] = source`, without the message about shapes that takes numba seconds to compile."""
    for i in range(source.size):
        to[i] = source[i]


@numba.njit(cache=True)
def _search(  # noqa: PLR0917  # pragma: no cover (compiled)
    order: Ints, sizes: Ints, starts: Ints, stops: Ints, best: Ints, bound: int, rounds: int
) -> None:
    """Move buffers at the top earlier in the order while that helps; `best` is overwritten."""
    n = order.size
    placed = np.empty(n, np.int64)
    height = _first_fit(order, sizes, starts, stops, placed)
    best_height = height
    _copy(placed, best)
    trial = order.copy()
    now = placed.copy()
    random = np.uint64(88172645463325252)  # xorshift: the same walk everywhere
    position = np.empty(n, np.int64)
    top = np.empty(n, np.int64)
    for _ in range(rounds):
        if best_height <= bound:
            return
        for i in range(n):
            position[order[i]] = i
        # who makes it that high: a buffer at the top, or any that lives with it
        n_top = 0
        for b in range(n):
            if now[b] + sizes[b] == height:
                top[n_top] = b
                n_top += 1
        random ^= random << np.uint64(13)
        random ^= random >> np.uint64(7)
        random ^= random << np.uint64(17)
        b = top[np.int64(random % np.uint64(n_top))]
        random ^= random << np.uint64(13)
        random ^= random >> np.uint64(7)
        random ^= random << np.uint64(17)
        if random % np.uint64(4) == np.uint64(0):  # now and then, a neighbour in time instead
            b = np.int64((random >> np.uint64(8)) % np.uint64(n))
        here = position[b]
        if here == 0:
            continue
        random ^= random << np.uint64(13)
        random ^= random >> np.uint64(7)
        random ^= random << np.uint64(17)
        there = np.int64(random % np.uint64(here))
        _copy(order, trial)
        for i in range(here, there, -1):
            trial[i] = trial[i - 1]
        trial[there] = b
        new = _first_fit(trial, sizes, starts, stops, placed)
        if new <= height:
            height = new
            _copy(trial, order)
            _copy(placed, now)
            if new < best_height:
                best_height = new
                _copy(placed, best)
