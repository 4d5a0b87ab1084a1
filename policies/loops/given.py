"""A schedule from anywhere, proved before anybody runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from policies.errors import InvalidDecision
from policies.loops.actions import Action, Kind, Schedule, Tape, checked_length
from policies.loops.referee import replay

__all__ = ["actions_of", "proved"]


def proved(schedule: Schedule | Iterable[Any] | Tape, length: int) -> Tape:
    """Give the actions of a schedule for a loop of so many steps, if they are good.

    Args:
        schedule: one of this package, one of the package ``checkpoint_schedules``, actions, or rows
            of a tape. One that gives its actions only once may be given again.
        length: steps of the loop.

    Returns:
        i32[actions, 3].

    Raises:
        InvalidDecision: it is for another length, or the referee refuses it; says which action
            cannot be done, and why.

    >>> from policies.loops.binomial import Binomial
    >>> proved(Binomial(2, 1), 2).tolist()
    [[0, 0, 1], [5, 1, -1], [2, 0, -1], [5, 0, -1]]
    >>> proved(Binomial(2, 1), 3)
    Traceback (most recent call last):
    ...
    policies.errors.InvalidDecision: Binomial(length=2, states=1) is for 2 steps, the loop has 3
    """
    checked_length(length)
    if isinstance(schedule, Schedule):
        if schedule.length != length:
            raise InvalidDecision(
                f"{schedule!r} is for {schedule.length} steps, the loop has {length}"
            )
        rows = schedule.tape()
    elif isinstance(schedule, np.ndarray):
        rows = np.ascontiguousarray(schedule, np.int32).reshape(-1, 3)
    elif iter(schedule) is schedule:
        rows = _READ.get(schedule)
        if rows is None:
            rows = _READ[schedule] = _read(schedule, length)
    else:
        rows = _read(list(schedule), length)
    known = (length, sha256(rows.tobytes()).digest())
    if known not in _PROVED:
        replay(actions_of(rows), length)
        _PROVED.add(known)
    return rows


_PROVED: set[tuple[int, bytes]] = set()
"""Lengths and digests of actions that the referee let pass."""

_READ: WeakKeyDictionary[Iterable[Any], Tape] = WeakKeyDictionary()
"""What gave its actions: it can do so only once, and a loop is traced more often than that."""


def _read(schedule: Iterable[Any], length: int) -> Tape:
    """Give the rows of actions, ours or theirs."""
    first = schedule[0] if isinstance(schedule, list) and schedule else schedule
    if type(first).__module__.partition(".")[0] == "checkpoint_schedules":
        from policies.adapters.checkpoint_schedules import from_actions

        schedule = from_actions(schedule, length)
    return np.array(list(schedule), np.int32).reshape(-1, 3)


def actions_of(rows: Tape) -> Iterator[Action]:
    """Give the actions that rows stand for.

    Raises:
        InvalidDecision: a row is of no kind.
    """
    kinds = tuple(Kind)
    for kind, step, where in rows.tolist():
        if not 0 <= kind < len(kinds):
            raise InvalidDecision(
                f"there is no kind {kind} of actions: they are 0 to {len(kinds) - 1}"
            )
        yield Action(kinds[kind], step, where)
