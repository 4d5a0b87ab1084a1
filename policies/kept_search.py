"""Good kept sets within caps in little time, and the price of bytes that bounds all of them.

The dual: at prices of bytes the cheapest kept set is a cut, whose value less prices times caps is a
lower bound; the next price is where two lines meet.  The cut just inside the caps is a plan, and
what room it leaves is filled with the task whose results save most seconds per byte.

Source: lines that meet: M. Eisner and D. Severance, "Mathematical Techniques for Efficient Record
Segmentation in Large Shared Databases" (1976); greedy by seconds per byte: G. Dantzig,
"Discrete-Variable Extremum Problems" (1957).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from policies.closure_cut import ClosureCut, Corner

__all__ = ["Dual", "dual", "fill", "fits"]


@dataclass(frozen=True, eq=False)
class Dual:
    """The best bound from prices of bytes.

    Attributes:
        bound_seconds: no kept set within the caps has less.
        rest_price: seconds that one more byte at rest would save, at that bound.
        resident_price: the same for a resident byte.
        inside: the kept set of the fewest seconds that was met within the caps, or None.
    """

    bound_seconds: float
    rest_price: float
    resident_price: float
    inside: Corner | None


def fits(corner: Corner, rest: int | None, resident: int | None) -> bool:
    """Tell if a kept set is complete and within the caps.

    >>> from policies.generate import two_tasks
    >>> from policies.keeping import two_stages
    >>> kept = ClosureCut(two_stages(two_tasks()), 2).solve()
    >>> fits(kept, 8, None), fits(kept, 8, 7)
    (True, False)
    """
    return (
        corner.feasible
        and (rest is None or corner.rest_bytes <= rest)
        and (resident is None or corner.resident_bytes <= resident)
    )


def dual(cut: ClosureCut, rest: int | None, resident: int | None, rounds: int = 3) -> Dual:
    """Find the prices of bytes that prove the best bound.

    Args:
        cut: the network.
        rest: cap on the bytes of all kept items, or None.
        resident: cap on the bytes of those that stay resident, or None.
        rounds: with two caps, how often each price is improved while the other stands.

    Complexity:
        A few dozen maximum flows.

    >>> from policies.generate import two_tasks
    >>> from policies.keeping import two_stages
    >>> found = dual(ClosureCut(two_stages(two_tasks()), 2), 4, None)
    >>> round(found.bound_seconds, 6), round(found.rest_price, 6)
    (3.0, 0.75)
    """
    best: list[Corner] = []
    bound = [0.0]

    def ask(prices: tuple[float, float]) -> tuple[Corner, float]:
        corner = cut.solve(*prices)
        value = corner.bound_seconds - prices[0] * (rest or 0) - prices[1] * (resident or 0)
        if fits(corner, rest, resident) and (not best or corner.seconds < best[0].seconds):
            best[:] = [corner]
        return corner, value

    prices = (0.0, 0.0)
    _, bound[0] = ask(prices)
    only_one = rest is None or resident is None
    for _ in range(1 if only_one else rounds):
        before = bound[0]
        if rest is not None:
            fixed = prices[1]
            found, value = _line(lambda p, f=fixed: ask((p, f)), _rest_bytes, rest)
            if value > bound[0]:
                prices, bound[0] = (found, fixed), value
        if resident is not None:
            fixed = prices[0]
            found, value = _line(lambda p, f=fixed: ask((f, p)), _resident_bytes, resident)
            if value > bound[0]:
                prices, bound[0] = (fixed, found), value
        if bound[0] <= before * (1 + 1e-9):
            break
    return Dual(max(0.0, bound[0]), *prices, best[0] if best else None)


def _rest_bytes(corner: Corner) -> int:
    return corner.rest_bytes


def _resident_bytes(corner: Corner) -> int:
    return corner.resident_bytes


def _line(
    ask: Callable[[float], tuple[Corner, float]], size: Callable[[Corner], int], cap: int
) -> tuple[float, float]:
    """Find the price along one line that proves most; give it and the bound."""
    low, value = ask(0.0)
    best = (0.0, value)
    if size(low) <= cap:
        return best
    # the price at which the bound could not rise any more if all bytes were given up for all time
    price = max(low.bound_seconds, 1e-12) / size(low)
    low_line, high_line = (low.bound_seconds, size(low)), None
    for _ in range(60):
        corner, value = ask(price)
        if value > best[1]:
            best = (price, value)
        line = (corner.bound_seconds - price * size(corner), size(corner))
        if size(corner) > cap:
            if line == low_line:
                break
            low_line = line
        else:
            if line == high_line:
                break
            high_line = line
        if high_line is None:
            price *= 8.0
            continue
        meeting = (high_line[0] - low_line[0]) / (low_line[1] - high_line[1])
        if not np.isfinite(meeting) or abs(meeting - price) <= 1e-12 * price:
            break
        price = meeting
    return best


def fill(cut: ClosureCut, corner: Corner, rest: int | None, resident: int | None) -> Corner:
    """Keep the results of more tasks while there is room, the most seconds per byte first.

    Args:
        cut: the problem with its prices.
        corner: a kept set within the caps.
        rest: cap on the bytes of all kept items, or None.
        resident: cap on the bytes of those that stay resident, or None.

    >>> from policies.generate import two_tasks
    >>> from policies.keeping import two_stages
    >>> cut = ClosureCut(two_stages(two_tasks()), 2)
    >>> fill(cut, cut.solve(9.0), 8, None).rest_bytes
    8
    """
    for _ in range(3):
        gains: list[tuple[float, int]] = []
        for task in cut.running(corner):
            more = cut.without(corner, task)
            saved = corner.seconds - more.seconds
            if saved > 0 and fits(more, None, None):
                size = max(1, more.rest_bytes - corner.rest_bytes)
                gains.append((-saved / size, task))
        before = corner.seconds
        for _, task in sorted(gains):
            more = cut.without(corner, task)
            if more.seconds < corner.seconds and fits(more, rest, resident):
                corner = more
        if corner.seconds >= before:
            break
    return corner
