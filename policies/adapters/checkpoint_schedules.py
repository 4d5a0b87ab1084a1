"""Schedules of loops there and back between us and the package ``checkpoint_schedules``.

``to_actions`` writes any of our schedules in that package's actions, for programs that it drives;
``from_actions`` reads one of its schedules, so that our referee can replay and count it.

The package is an optional extra (``schedules``), needed by this module alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from policies.errors import InvalidDecision
from policies.loops.actions import IN_HAND, INPUT, Action, Kind, Schedule

try:
    import checkpoint_schedules as theirs
except ImportError:
    raise ImportError(
        "this adapter needs checkpoint_schedules: pip install 'ckpt-compiler[schedules]'"
    ) from None

__all__ = ["from_actions", "to_actions"]

_STORAGE: Any = theirs.StorageType


def to_actions(schedule: Schedule) -> Iterator[Any]:
    """Write a schedule in the actions of the package.

    The input of the loop is stored there like any other state, in memory; so a schedule of ours
    with so many slots takes one snapshot more.

    >>> from policies.loops.binomial import Binomial
    >>> for action in to_actions(Binomial(2, 1)):
    ...     print(action)
    Forward(0, 1, True, False, StorageType.RAM)
    Forward(1, 2, False, True, StorageType.WORK)
    EndForward()
    Reverse(2, 1, True)
    Move(0, StorageType.RAM, StorageType.WORK)
    Forward(0, 1, False, True, StorageType.WORK)
    Reverse(1, 0, True)
    EndReverse()
    """
    ram, disk, work, none = _STORAGE.RAM, _STORAGE.DISK, _STORAGE.WORK, _STORAGE.NONE
    put = ram  # where the state in hand goes when the next steps run; the input is come back to
    reached = False
    done = 0  # actions ahead that are said already
    for (kind, step, where), after in _with_next(schedule):
        if done:
            done -= 1
        elif kind is Kind.ADVANCE:
            yield theirs.Forward(step, where, put is not none, False, put)
            put = none
            if where == schedule.length and not reached:
                reached = True
                yield theirs.EndForward()
        elif kind is Kind.STORE:
            put = ram
        elif kind is Kind.WRITE:
            put = disk
        elif kind is Kind.READ and after is not None and after.kind is Kind.STORE:
            yield theirs.Move(step, disk, ram)  # it stays in memory from now on
            yield theirs.Copy(step, ram, work)
            done = 2
        elif kind in {Kind.RESTORE, Kind.READ}:
            frees = {Kind.REVERSE, Kind.RECORD} if where == INPUT else {Kind.FREE, Kind.ERASE}
            last = after is not None and after.kind in frees and after.step == step
            done = int(last and where != INPUT)
            yield (theirs.Move if last else theirs.Copy)(
                step, ram if kind is Kind.RESTORE else disk, work
            )
        elif kind in {Kind.FREE, Kind.ERASE}:
            yield theirs.Move(step, ram if kind is Kind.FREE else disk, none)
        elif kind is Kind.RECORD:
            put = none
            yield theirs.Forward(step, step + 1, False, True, ram)
        else:
            if where == IN_HAND:
                yield theirs.Forward(step, step + 1, False, True, work)
            else:
                yield theirs.Move(step, ram, work)
            if not reached:
                reached = True
                yield theirs.EndForward()
            yield theirs.Reverse(step + 1, step, True)
    yield theirs.EndReverse()


def _with_next(actions: Iterable[Action]) -> Iterator[tuple[Action, Action | None]]:
    """Give each action with the one after it."""
    ahead = iter(actions)
    action = next(ahead, None)
    while action is not None:
        after = next(ahead, None)
        yield action, after
        action = after


def from_actions(schedule: Iterable[Any], length: int) -> Iterator[Action]:
    """Read a schedule of the package: one run there and one back.

    Its memory is our fast memory, its disk our slow memory, and the residuals of a single step in
    its working memory those of the step being reversed.  The input of the loop costs no slot in
    memory.

    Args:
        schedule: any of its classes, or actions; a schedule without a length is finalized when the
            loop ends.
        length: steps of the loop.

    Raises:
        InvalidDecision: an action of a kind unknown here, or on data that are not there.

    >>> from policies.loops.referee import replay
    >>> revolve = theirs.MultistageCheckpointSchedule(100, 10, 0)
    >>> done = replay(from_actions(revolve, 100), 100)
    >>> done.advances, done.slots
    (222, 9)
    """
    reader = _Reader(length)
    unending: Any = None  # a schedule that has yet to be told where the loop ends
    if isinstance(schedule, theirs.CheckpointSchedule) and schedule.max_n is None:
        unending = schedule
    for action in schedule:
        if isinstance(action, theirs.EndReverse):
            break
        yield from reader.read(action)
        if unending is not None and reader.hand == length:
            unending.finalize(length)
            unending = None
    yield from reader.cleared()


@dataclass(slots=True)
class _Slots:
    """Slots of one kind, each the lowest that is empty.

    Attributes:
        put: what puts a state there.
        take: what takes it from there.
        free: what empties the slot.
        held: the slot of each step.
    """

    put: Kind
    take: Kind
    free: Kind
    held: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, step: int) -> Action:
        slot = next(i for i in range(len(self.held) + 1) if i not in self.held.values())
        self.held[step] = slot
        return Action(self.put, step, slot)

    def fetch(self, step: int) -> Action:
        return Action(self.take, step, self.held[step])

    def drop(self, step: int) -> Action:
        return Action(self.free, step, self.held.pop(step))


class _Reader:
    """Keeps what is where.

    Attributes:
        length: steps of the loop.
        hand: the state in hand.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.hand = 0
        self._fast = _Slots(Kind.STORE, Kind.RESTORE, Kind.FREE)
        self._slow = _Slots(Kind.WRITE, Kind.READ, Kind.ERASE)
        self._kept = _Slots(Kind.RECORD, Kind.REVERSE, Kind.REVERSE)
        self._working: int | None = None

    def read(self, action: Any) -> Iterator[Action]:
        """Give one action in ours."""
        if isinstance(action, theirs.Forward):
            yield from self._forward(action)
        elif isinstance(action, theirs.Reverse):
            for step in action:
                if step == self._working:
                    yield Action(Kind.REVERSE, step, IN_HAND)
                elif step in self._kept.held:
                    yield self._kept.drop(step)
                else:
                    raise InvalidDecision(f"{action!r}: there are no residuals of step {step}")
                self._working = None
        elif isinstance(action, theirs.Copy | theirs.Move):
            yield from self._carry(action)
        elif not isinstance(action, theirs.EndForward):
            raise InvalidDecision(f"{action!r}: no action of a schedule")

    def cleared(self) -> Iterator[Action]:
        """Empty what is left in slots."""
        for slots in (self._fast, self._slow):
            for step in list(slots.held):
                yield slots.drop(step)

    def _forward(self, action: Any) -> Iterator[Action]:
        start, end = int(action.n0), min(int(action.n1), self.length)
        if action.write_ics:
            yield from self._store(start, action.storage)
        self.hand = end
        if not action.write_adj_deps:
            yield Action(Kind.ADVANCE, start, end)
        elif action.storage is _STORAGE.WORK and end == start + 1:
            self._working = start
        else:
            for step in range(start, end):
                yield self._kept.add(step)

    def _store(self, step: int, storage: Any) -> Iterator[Action]:
        if storage is _STORAGE.DISK:
            yield self._slow.add(step)
        elif step > 0:
            yield self._fast.add(step)

    def _carry(self, action: Any) -> Iterator[Action]:
        step, source, to = int(action.n), action.from_storage, action.to_storage
        slots = self._slow if source is _STORAGE.DISK else self._fast
        if step in self._kept.held:
            return  # residuals are where they are until their step is reversed
        there = step in slots.held
        if not there and (step > 0 or source is _STORAGE.DISK):
            raise InvalidDecision(f"{action!r}: there is nothing of step {step}")
        if to is not _STORAGE.NONE:
            yield slots.fetch(step) if there else Action(Kind.RESTORE, 0, INPUT)
            self.hand = step
            if to is not _STORAGE.WORK:
                yield from self._store(step, to)
        if isinstance(action, theirs.Move) and there:
            yield slots.drop(step)
