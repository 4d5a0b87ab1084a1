"""What each kept value is worth: seconds per call, calls until it pays, and what more bytes buy.

A value is judged with everything else as the plan has it, and with whatever cannot be made again:
what runs again in a call without it and not with it.  These known tasks run once to make it; so it
pays after

    N* = (their seconds + a load that happens once) / (their seconds - a load in every call)

calls.  More bytes buy at least what a plan with them was found to save, and at most what the dual
bound leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.closure_cut import ClosureCut, Corner, hull
from policies.decision import Decision
from policies.errors import InvalidDecision
from policies.keeping import two_stages
from policies.kept_search import dual, fill, fits
from policies.problem import Choice, Problem
from policies.units import format_bytes, format_seconds

__all__ = ["Purchase", "ValueWorth", "Worth", "worth"]

NEXT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class ValueWorth:
    """What one known value, or a group that stands or falls together, is worth.

    Attributes:
        values: its name, or the names of the group.
        task: who makes it (the first of the group).
        bytes: what it takes at rest.
        kept: SAVE or OFFLOAD, or None if it is made again or not read.
        saves_seconds: per call, loads deducted; infinite if nothing can make it again.
        break_even_calls: from how many calls on keeping it pays; infinite if never.
    """

    values: tuple[Hashable, ...]
    task: Hashable
    bytes: int
    kept: Choice | None
    saves_seconds: float
    break_even_calls: float

    @property
    def reason(self) -> str:
        """In words, why it is kept or not."""
        if math.isinf(self.saves_seconds):
            return "must be kept: nothing can make it again"
        saved = f"saves {format_seconds(self.saves_seconds)} per call"
        if math.isinf(self.break_even_calls):
            return "not kept: with the others there it would save nothing"
        pays = f"pays from {self.break_even_calls:.4g} calls on"
        if self.kept is not None:
            return f"kept: {saved}, {pays}"
        return f"not kept: it would save {format_seconds(self.saves_seconds)} per call; {pays}"


@dataclass(frozen=True, slots=True)
class Purchase:
    """What more bytes at rest would save, in all calls.

    Attributes:
        bytes: how many more.
        least_seconds: a plan that saves this much is known.
        most_seconds: no plan saves more.
    """

    bytes: int
    least_seconds: float
    most_seconds: float


@dataclass(frozen=True, slots=True)
class Worth:
    """A plan for two stages, told value by value.

    Attributes:
        values: those that matter, kept ones first, then by what they save per call.
        price: seconds that one more byte at rest would save at the dual bound; 0 without a cap.
        next: what ``next_bytes`` more at rest would save.
        curve: corners of seconds against bytes at rest, for any cap: ``(bytes, seconds)``.
    """

    values: tuple[ValueWorth, ...]
    price: float
    next: Purchase
    curve: tuple[tuple[int, float], ...]

    def __str__(self) -> str:
        """One line per value, then what more bytes buy."""
        lines = [
            f"{' + '.join(map(str, one.values))}: {format_bytes(one.bytes)}, {one.reason}"
            for one in self.values
        ]
        low, high = self.next.least_seconds, self.next.most_seconds
        seconds = format_seconds(low)
        if high > low * (1 + 1e-6):
            seconds += f" to {format_seconds(high)}"
        lines.append(f"the next {self.next.bytes / 1e6:g} MB would save {seconds} in all calls")
        return "\n".join(lines)


def worth(problem: Problem, decision: Decision, *, next_bytes: int = NEXT_BYTES) -> Worth:
    """Tell what each value is worth in a plan for two stages.

    Args:
        problem: with its options already chosen.
        decision: a plan that says what is kept.
        next_bytes: how many more bytes at rest to put a price on.

    Raises:
        InvalidDecision: the plan does not say what is kept.

    >>> from policies.generate import two_tasks
    >>> from policies.solve import solve
    >>> problem = two_tasks(calls=10, loads="once")
    >>> print(worth(problem, solve(problem)))
    a: 8 B, kept: saves 3.00 s per call, pays from 1 calls on
    the next 10 MB would save 0.0 us in all calls
    """
    if decision.kept is None:
        raise InvalidDecision("the plan does not say what is kept: it was not made for two stages")
    stages = two_stages(problem)
    cut = ClosureCut(stages, problem.calls)
    item_of = {value: i for i, names in enumerate(stages.items) for value in names}
    kept = np.zeros(len(stages.items), np.bool_)
    saved = cut.stays.copy()
    for value, choice in decision.kept.items():
        kept[item_of[value]] = True
        saved[item_of[value]] = choice is Choice.SAVE
    found = [_value(cut, kept, saved, group) for group in _groups(cut)]
    found.sort(key=lambda one: (one.kept is None, -one.saves_seconds, -one.bytes))
    rest, resident = problem.limit.rest, problem.limit.resident
    fixed = stages.early_seconds + problem.calls * stages.unknown_seconds
    now = cut.corner(kept, saved)
    price = 0.0 if rest is None else dual(cut, rest, resident).rest_price
    return Worth(
        values=tuple(found),
        price=price,
        next=_purchase(cut, now, rest, resident, next_bytes),
        curve=tuple((c.rest_bytes, fixed + c.seconds) for c in hull(cut)),
    )


def _groups(cut: ClosureCut) -> list[list[int]]:
    """The items that any plan may keep or make again, those of a group together."""
    stages = cut.stages
    least = cut.corner(_stuck(cut), cut.stays)  # or the walk would end at it
    used = cut.reads(least) & ~stages.free & stages.keepable
    groups: dict[int, list[int]] = {}
    for i in np.flatnonzero(cut.tied(used)).tolist():
        tie = int(stages.tie[i])
        groups.setdefault(tie if tie >= 0 else -2 - i, []).append(i)
    return list(groups.values())


def _stuck(cut: ClosureCut) -> NDArray[np.bool_]:
    """Known items that nothing can make again."""
    compact = cut.stages.compact
    return (compact.known & ~compact.rerun)[compact.value_task]


def _value(
    cut: ClosureCut, kept: NDArray[np.bool_], saved: NDArray[np.bool_], group: list[int]
) -> ValueWorth:
    """Compare the plan with the group and without it."""
    stages = cut.stages
    # without it, what cannot be made again must be there in its place
    with_it, without = kept.copy(), kept | (_stuck(cut) & stages.keepable)
    with_it[group], without[group] = True, False
    lean, rich = cut.corner(without, saved), cut.corner(with_it, saved)
    first = group[0]
    stays = bool(saved[first])
    once = float(cut.save[group].sum()) if stays else 0.0
    per_call = 0.0 if stays else float(stages.offload_seconds[group].sum())
    again = math.inf
    if lean.feasible:
        seconds = stages.compact.seconds
        again = float(seconds[cut.running(lean)].sum() - seconds[cut.running(rich)].sum())
    saves = again - per_call
    break_even = (again + once) / saves if 0 < saves < math.inf else math.inf
    choice = (Choice.SAVE if stays else Choice.OFFLOAD) if kept[first] else None
    return ValueWorth(
        values=tuple(value for i in group for value in stages.items[i]),
        task=stages.compact.tasks[stages.compact.value_task[first]],
        bytes=int(stages.rest_bytes[group].sum()),
        kept=choice,
        saves_seconds=saves,
        break_even_calls=0.0 if math.isinf(saves) else break_even,
    )


def _purchase(
    cut: ClosureCut, now: Corner, rest: int | None, resident: int | None, extra: int
) -> Purchase:
    if rest is None:
        return Purchase(extra, 0.0, 0.0)
    price = dual(cut, rest + extra, resident)
    least = 0.0
    for start in (now, price.inside):
        if start is not None and fits(start, rest + extra, resident):
            better = fill(cut, start, rest + extra, resident)
            least = max(least, now.seconds - better.seconds)
    most = now.seconds - price.bound_seconds
    return Purchase(extra, least, most if most > least + 1e-9 * now.seconds else least)
