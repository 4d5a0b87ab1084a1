"""The ways to differentiate one turn of a scan: what each saves, and what it runs again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from ckpt.choice import Budget

CAPS = (0.85, 0.7, 0.55, 0.45, 0.35, 0.25, 0.18, 0.12, 0.07, 0.03, 0.0)
"""What a turn may save, as fractions of everything, for which a body is planned."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to differentiate a turn.

    Attributes:
        saved_bytes: of a turn, its carry not counted.
        extra_seconds: of a turn, to run again what was not saved.
        least_seconds: no way to save at most as much takes less.
        cap: the budget by which the body is planned.
    """

    saved_bytes: int
    extra_seconds: float
    least_seconds: float
    cap: Budget


class Priced(Protocol):
    """What is read of the plan of a body."""

    @property
    def residual_bytes(self) -> int:
        """What crosses."""
        ...

    @property
    def seconds(self) -> float:
        """Of a turn, forward and backward."""
        ...

    @property
    def baseline_seconds(self) -> float:
        """Of a turn that saves everything."""
        ...

    @property
    def bound_seconds(self) -> float:
        """No way to save as little takes less."""
        ...


def ways_of(plan_within: Callable[[Budget], Priced], copies: int = 1) -> list[Way]:
    """Ways to differentiate a turn, from saving everything to nothing, each less than the last.

    Args:
        plan_within: plans the body within a cap on what crosses.
        copies: how many examples outer `vmap`s hold of a turn; a cap is on what crosses of one.
    """
    whole = Way(copies * plan_within(Budget()).residual_bytes, 0.0, 0.0, Budget())
    points = [whole]
    for share in CAPS:
        cap = Budget(rest=int(share * whole.saved_bytes) // copies)
        points.append(way_within(plan_within, cap, whole, copies))
    falling = [points[0]]
    falling += [b for a, b in pairwise(points) if b.saved_bytes < a.saved_bytes]
    return falling


def way_within(
    plan_within: Callable[[Budget], Priced], cap: Budget, whole: Way, copies: int = 1
) -> Way:
    """The way to differentiate a turn within a cap, beside the one that saves everything."""
    plan, base = plan_within(cap), plan_within(whole.cap).seconds
    extra, least = (copies * max(0.0, t - base) for t in (plan.seconds, plan.bound_seconds))
    return Way(copies * plan.residual_bytes, extra, least, cap)


def hull_of(points: Sequence[Way]) -> list[Way]:
    """The ways on the lower convex hull: mixed, no others do better."""
    hull: list[Way] = []
    for way in points:
        while hull and (way.extra_seconds <= hull[-1].extra_seconds or _above(hull, way)):
            hull.pop()
        hull.append(way)
    return hull


def _above(hull: Sequence[Way], way: Way) -> bool:
    """Whether the last point of a hull lies above the line from the one before it to a new one."""
    if len(hull) < 2:
        return False
    first, middle = hull[-2], hull[-1]
    return price(first, middle) >= price(first, way)


def price(first: Way, second: Way) -> float:
    """Seconds per byte of going from one way to a thriftier one."""
    return (second.extra_seconds - first.extra_seconds) / (first.saved_bytes - second.saved_bytes)


class Turned(Protocol):
    """What is read of a scan."""

    @property
    def turns(self) -> int:
        """How often its body runs."""
        ...


def least_extra(loops: Sequence[Turned], ways: Sequence[list[Way]], room_bytes: int) -> float:
    """Seconds that must be spent again when all turns together may save only so many bytes.

    Between two planned caps the thriftier one's cost is not yet proved necessary, so each way
    counts with what the next dearer one saves: a staircase below the true curve, then its hull.
    """
    steps: list[tuple[float, int]] = []
    everything = 0
    for loop, own in zip(loops, ways, strict=True):
        lowered = [own[0]]
        lowered += [
            replace(way, extra_seconds=before.least_seconds) for before, way in pairwise(own)
        ]
        hull: list[Way] = []
        for way in lowered:
            while _above(hull, way):
                hull.pop()
            hull.append(way)
        everything += loop.turns * own[0].saved_bytes
        steps += [
            (price(a, b), loop.turns * (a.saved_bytes - b.saved_bytes)) for a, b in pairwise(hull)
        ]
    missing, extra = everything - room_bytes, 0.0
    for rate, size in sorted(steps):
        taken = min(size, max(0, missing))
        extra += taken * rate
        missing -= taken
    return extra
