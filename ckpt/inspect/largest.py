"""The largest number that fits, by asking as little as possible."""

from collections.abc import Callable


def largest(
    fits: Callable[[int], bool], limit: int, *, known: int = 0, growth: float = 2, close: float = 0
) -> int:
    """The largest n up to a limit that fits, if all smaller ones do; `known` if none above it does.

    Args:
        fits: asked about numbers above `known` only, never twice about one.
        limit: the largest number to ask about.
        known: fits already.
        growth: how fast to look for one that does not fit, before halving the gap to it.
        close: stop when the gap is at most this fraction of what fits.

    >>> largest(lambda n: n <= 37, 1000), largest(lambda n: False, 8), largest(lambda n: True, 9)
    (37, 0, 9)
    """
    good, bad = known, limit + 1
    while good < limit < bad:
        n = min(max(good + 1, int(good * growth)), limit)
        if fits(n):
            good = n
        else:
            bad = n
    while bad - good > max(1, close * good):
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good
