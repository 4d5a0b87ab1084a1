"""Ranges cut into parts, for work that several threads share."""

from itertools import pairwise

MOST_PARTS = 8
"""Of one call; enough for the last ones to end together on a handful of threads."""


def cuts(size: int, parts: float, unit: int = 1) -> list[tuple[int, int]]:
    """`range(size)` in about so many parts, at most `MOST_PARTS`, that begin at multiples.

    >>> cuts(100, 3, 16)
    [(0, 32), (32, 64), (64, 100)]
    """
    units = -(-size // unit)
    count = max(1, min(MOST_PARTS, int(parts), units))
    bounds = [min(size, unit * (units * i // count)) for i in range(count + 1)]
    return [(a, b) for a, b in pairwise(bounds) if a < b or count == 1]
