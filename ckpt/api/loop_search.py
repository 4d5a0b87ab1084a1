"""The best of a list that trades one cost against another, looking at few of its entries."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf

__all__ = ["cheapest"]


def cheapest(
    falling: Sequence[float],
    rising: Callable[[int, float], tuple[float, float]],
    *,
    enough: float = 0.0,
    known: float = inf,
) -> list[tuple[int, float]]:
    """Entries with the sum of their two costs, as far as they were looked at, the best one first.

    Between two entries no sum is below what the first costs by the one and the last by the other:
    the stretch with the least such bound is halved, until no bound is below the best sum. An upper
    bound that was found is taken for the cost there: later entries are not expected to do better.

    Args:
        falling: one cost of each entry, which does not rise from entry to entry.
        rising: of an entry, a lower and an upper bound of its other cost, which does not fall; the
            upper one need not be looked for if the lower one is not below the second argument.
            Infinite if the entry is of no use.
        enough: an entry better by less than this need not be found.
        known: nor one that is not below this.

    Returns:
        Those that are of use, by their upper bounds, the cheapest first; none if none is.

    >>> other = [0, 0, 1, 2, 8, 9]
    >>> cheapest([9, 7, 6, 2, 1, 0], lambda i, worth: (other[i], other[i]))
    [(3, 4), (2, 7), (0, 9), (4, 9), (5, 9)]
    """
    bounds: dict[int, tuple[float, float]] = {}
    best = known
    stretches: list[tuple[float, int, int]] = []

    def look(i: int) -> None:
        nonlocal best
        bounds[i] = rising(i, best - enough - falling[i])
        best = min(best, falling[i] + bounds[i][1])

    def push(left: int, right: int) -> None:
        if right - left > 1:
            least = bounds[left][1] if bounds[left][1] < inf else bounds[left][0]
            heappush(stretches, (falling[right - 1] + least, left, right))

    last = len(falling) - 1
    if falling[last] < best - enough:
        look(last)
    if last and bounds and bounds[last][1] > 0:
        look(0)
        push(0, last)
    while stretches:
        bound, left, right = heappop(stretches)
        if bound >= best - enough:
            break
        middle = (left + right) // 2
        look(middle)
        push(left, middle)
        push(middle, right)
    sums = [(i, falling[i] + upper) for i, (_, upper) in bounds.items() if upper < inf]
    return sorted(sums, key=lambda pair: (pair[1], pair[0]))
