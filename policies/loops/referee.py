"""The referee: replays any schedule, trusts none, and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from policies.errors import InvalidDecision
from policies.loops.actions import INPUT, Action, Kind

__all__ = ["Replay", "replay"]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a schedule did.

    Attributes:
        length: steps reversed.
        advances: steps run without keeping residuals.
        records: steps run with their residuals kept for later.
        fused: steps reversed from the state in hand.
        stores: states put into slots of fast memory.
        restores: states taken from there, the input of the loop included.
        writes: states put into slow memory.
        reads: states taken from there.
        slots: most states in fast memory at once, the input aside.
        kept_slots: most steps whose residuals were kept at once.
        slow_slots: most states in slow memory at once.
        peak: most units of fast memory in slots at once.
        slow_peak: most units of slow memory at once.
    """

    length: int
    advances: int
    records: int
    fused: int
    stores: int
    restores: int
    writes: int
    reads: int
    slots: int
    kept_slots: int
    slow_slots: int
    peak: int
    slow_peak: int


def replay(
    actions: Iterable[Action],
    length: int,
    *,
    carry: Callable[[int], int] | int = 1,
    residual: Callable[[int], int] | int = 0,
    working: bool = False,
) -> Replay:
    """Run a schedule on paper.

    Args:
        actions: the schedule.
        length: steps of the loop.
        carry: units of memory of the first state of a step, or of every one.
        residual: units of the residuals of a step, or of every one.
        working: count the residuals of a step reversed from the state in hand too.

    Raises:
        InvalidDecision: an action that cannot be done, or a step not reversed in its turn; the
            message names the action and its place.

    >>> from policies.loops.binomial import Binomial
    >>> done = replay(Binomial(10, 3), 10)
    >>> done.advances, done.slots, done.restores
    (15, 2, 9)
    >>> replay([Action(Kind.REVERSE, 1, -1)], 2)
    Traceback (most recent call last):
    ...
    policies.errors.InvalidDecision: action 0, reverse 1: the state in hand is 0, not 1
    """
    state_units = carry if callable(carry) else lambda _: carry
    kept_units = residual if callable(residual) else lambda _: residual
    fast: dict[int, int] = {}
    slow: dict[int, int] = {}
    kept: dict[int, int] = {}
    hand: int | None = 0
    todo = length - 1
    used = peak = slow_used = slow_peak = 0
    most = (0, 0, 0)
    count = dict.fromkeys(Kind, 0)
    advances = fused = 0

    place = -1
    action = None

    def refuse(reason: str) -> InvalidDecision:
        return InvalidDecision(f"action {place}, {action}: {reason}", position=place)

    for action in actions:
        place += 1
        kind, step, where = action
        count[kind] += 1
        if kind in {Kind.ADVANCE, Kind.RECORD, Kind.STORE, Kind.WRITE} and hand != step:
            raise refuse(f"the state in hand is {'none' if hand is None else hand}, not {step}")
        if kind is Kind.ADVANCE:
            if not step < where <= length:
                raise refuse(f"steps go from {step} to at most {length}")
            hand, advances = where, advances + where - step
        elif kind in {Kind.STORE, Kind.WRITE}:
            held = fast if kind is Kind.STORE else slow
            if where in held or where < 0:
                raise refuse("the slot is taken" if where in held else "there is no such slot")
            held[where] = step
            most = max(most[0], len(fast)), most[1], max(most[2], len(slow))
            if kind is Kind.STORE:
                used += state_units(step)
            else:
                slow_used += state_units(step)
        elif kind in {Kind.RESTORE, Kind.READ}:
            held = fast if kind is Kind.RESTORE else slow
            there = 0 if where == INPUT and kind is Kind.RESTORE else held.get(where)
            if there != step:
                raise refuse(f"the slot holds {'nothing' if there is None else there}")
            hand = step
        elif kind in {Kind.FREE, Kind.ERASE}:
            held = fast if kind is Kind.FREE else slow
            if held.pop(where, None) != step:
                raise refuse("the slot does not hold this state")
            if kind is Kind.FREE:
                used -= state_units(step)
            else:
                slow_used -= state_units(step)
        elif kind is Kind.RECORD:
            if where in kept or where < 0 or step >= length:
                raise refuse("the slot is taken" if where in kept else "there is no such place")
            kept[where] = step
            most = most[0], max(most[1], len(kept)), most[2]
            used += kept_units(step)
            hand = step + 1
        else:
            if step != todo:
                raise refuse(f"it is the turn of step {todo}" if todo >= 0 else "all are reversed")
            if where >= 0:
                if kept.pop(where, None) != step:
                    raise refuse("these residuals are not there")
                used -= kept_units(step)
            else:
                if hand != step:
                    raise refuse(f"the state in hand is {hand}, not {step}")
                fused += 1
                peak = max(peak, used + (kept_units(step) if working else 0))
            hand = None
            todo -= 1
        peak, slow_peak = max(peak, used), max(slow_peak, slow_used)
    if todo >= 0:
        raise InvalidDecision(
            f"the schedule ends before step {todo} is reversed", position=place + 1
        )
    if fast or kept or slow:
        raise InvalidDecision(
            f"the schedule ends with {len(fast) + len(kept) + len(slow)} slots in use",
            position=place + 1,
        )
    return Replay(
        length=length,
        advances=advances,
        records=count[Kind.RECORD],
        fused=fused,
        stores=count[Kind.STORE],
        restores=count[Kind.RESTORE],
        writes=count[Kind.WRITE],
        reads=count[Kind.READ],
        slots=most[0],
        kept_slots=most[1],
        slow_slots=most[2],
        peak=peak,
        slow_peak=slow_peak,
    )
