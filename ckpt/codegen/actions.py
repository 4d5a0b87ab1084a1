"""The schedule of a reverse loop as a list of actions, and what must hold for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ckpt.codegen.drivers.binomial import split
from ckpt.errors import PlanError

Kind = Literal["advance", "store", "restore", "reverse"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a loop does on its way there and back.

    Attributes:
        kind: "advance" makes steps forward, "store" keeps the state in hand, "restore" takes one
            in hand again, "reverse" runs a step back from the state in hand.
        step: the step that the state in hand precedes when the action begins.
        to: the step that it precedes afterwards; for "reverse" the step itself.
        slot: the slot of a store or restore; 0 is the initial state.
    """

    kind: Kind
    step: int
    to: int
    slot: int = -1

    def __str__(self) -> str:
        match self.kind:
            case "advance":
                return f"advance  {self.step} to {self.to}"
            case "reverse":
                return f"reverse  {self.step}"
            case _:
                return f"{self.kind:<8} {self.to} in slot {self.slot}"


def actions(length: int, slots: int) -> Iterator[Action]:
    """What the drivers do for a loop of known length, in order.

    >>> [str(a) for a in actions(3, 2)]  # doctest: +NORMALIZE_WHITESPACE
    ['store    0 in slot 0', 'advance  0 to 1', 'store    1 in slot 1', 'advance  1 to 2',
     'reverse  2', 'restore  1 in slot 1', 'reverse  1', 'restore  0 in slot 0', 'reverse  0']
    """
    here = 0
    yield Action("store", 0, 0, 0)
    todo = [(0, length)]  # per slot, where its state stands and how many steps go back from it
    while todo:
        slot = len(todo) - 1
        start, n = todo[-1]
        ahead = split(n, slots - slot) if n > 1 and slot < slots - 1 else n - 1
        if here != start and not (n > 1 and slot == slots - 1 and here == start + ahead):
            yield Action("restore", here, start, slot)
            here = start
        if ahead and here != start + ahead:
            yield Action("advance", start, start + ahead)
            here = start + ahead
        if n > 1 and slot < slots - 1:
            yield Action("store", here, here, slot + 1)
            todo[-1] = start, ahead
            todo.append((start + ahead, n - ahead))
            continue
        yield Action("reverse", here, here)
        here = -1
        if n > 1:
            todo[-1] = start, n - 1
        else:
            todo.pop()


def check_actions(made: Sequence[Action], length: int, slots: int) -> int:
    """Raise unless actions bring every step back once, the last first, with the slots there are.

    Returns:
        Steps forward.

    Raises:
        PlanError: a state is not in hand, or not where it is looked for; names the action.
    """
    here, advances, left = 0, 0, length
    kept: dict[int, int] = {}
    for number, action in enumerate(made):
        what = f"the schedule is not good: action {number} ({action})"
        if action.kind == "restore":
            _need(kept.get(action.slot) == action.to, f"{what} restores a state that is not there")
            here = action.to
            continue
        _need(here == action.step, f"{what} begins at {action.step}, {here} is in hand")
        match action.kind:
            case "advance":
                _need(here < action.to <= left, f"{what} makes steps that have gone back")
                advances += action.to - here
                here = action.to
            case "store":
                _need(0 <= action.slot < slots, f"{what} has no such slot")
                _need(action.to == here, f"{what} keeps another state")
                kept[action.slot] = here
            case _:
                _need(here == left - 1, f"{what} comes before step {left - 1} has gone back")
                left, here = here, -1
    _need(left == 0, f"the schedule is not good: {left} steps never go back")
    return advances


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise PlanError(what)
