"""The least time of a loop by search over everything that may be stored, for a handful of steps."""

import heapq
from itertools import count
from typing import Any

State = tuple[int, int | None, frozenset[int], frozenset[int], frozenset[int]]


def least(
    length: int,
    *,
    fast: int,
    slow: int = 0,
    carry: int = 1,
    residual: int | None = None,
    times: tuple[float, float, float] = (1.0, 0.0, 0.0),
    working: int = 0,
) -> float:
    """Dijkstra over (steps left, state in hand, what is stored where).

    Args:
        length: steps.
        fast: units of fast memory, the input aside.
        slow: states in slow memory.
        carry: units of a state in fast memory.
        residual: units of a step's residuals, or None if they are never kept.
        times: of an advance, a write and a read.
        working: units of a step's residuals while it is reversed from the state in hand.
    """
    step_time, write_time, read_time = times
    nothing = frozenset[int]()
    start: State = (length, 0, nothing, nothing, nothing)
    best = {start: 0.0}
    number = count()
    heap: list[tuple[float, int, Any]] = [(0.0, next(number), start)]
    while heap:
        cost, _, state = heapq.heappop(heap)
        if cost > best[state]:
            continue
        left, hand, stored, kept, far = state
        if left == 0:
            return cost
        used = carry * len(stored) + (residual or 0) * len(kept)
        after: list[tuple[float, State]] = []
        for i in stored:
            after.append((0.0, (left, i, stored, kept, far)))
            after.append((0.0, (left, hand, stored - {i}, kept, far)))
        after.append((0.0, (left, 0, stored, kept, far)))
        for i in far:
            after.append((read_time, (left, i, stored, kept, far)))
            after.append((0.0, (left, hand, stored, kept, far - {i})))
        if left - 1 in kept:
            after.append((0.0, (left - 1, None, stored, kept - {left - 1}, far)))
        if hand is not None:
            if hand == left - 1 and used + working <= fast:
                after.append((0.0, (left - 1, None, stored, kept, far)))
            if hand < left - 1:
                after.append((step_time, (left, hand + 1, stored, kept, far)))
            if hand < left and residual is not None and used + residual <= fast:
                after.append((0.0, (left, hand + 1, stored, kept | {hand}, far)))
            if hand not in stored and used + carry <= fast:
                after.append((0.0, (left, hand, stored | {hand}, kept, far)))
            if hand not in far and len(far) < slow:
                after.append((write_time, (left, hand, stored, kept, far | {hand})))
        for extra, there in after:
            if cost + extra < best.get(there, float("inf")):
                best[there] = cost + extra
                heapq.heappush(heap, (cost + extra, next(number), there))
    raise AssertionError("a loop can always be reversed from its input")
