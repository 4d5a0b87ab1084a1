"""Proving the schedule of a reverse loop before it runs."""

from functools import cache, lru_cache

from ckpt.choice import proved
from ckpt.codegen.drivers.binomial import split
from ckpt.errors import PlanError
from ckpt.ir.actions import rows_of, steps_again, tape_slots
from ckpt.ir.op import Op
from ckpt.ops.loop_reverse import ScanReverse


def prove(op: Op) -> None:
    """Raise unless a reverse loop brings back every step once, with the slots that it has.

    The driver's rule depends on how many steps go back from a state and how many slots are free,
    and on nothing else; so each pair is looked at once, whatever the length. The actions of a
    schedule of its own are replayed by the referee.

    Raises:
        PlanError: it does not, or makes more steps forward than were planned.
    """
    if isinstance(op, ScanReverse) and op.length:
        if op.actions:
            again = _steps_of_actions(op.actions, op.length, op.slots)
        else:
            again = steps_forward(op.length, op.slots) - (op.length - 1)
        if again != op.again:
            raise PlanError(
                f"the plan is not good: `{op.title}` makes {again} steps forward again, "
                f"{op.again} were planned"
            )


@lru_cache(64)
def _steps_of_actions(actions: str, length: int, slots: int) -> int:
    """Steps forward again that actions make.

    Raises:
        PlanError: they cannot be done, or not with so many slots.
    """
    try:
        proved(rows_of(actions), length)
    except ValueError as error:
        raise PlanError(f"the plan is not good: {error}") from error
    if tape_slots(actions) != slots:
        raise PlanError(
            f"the plan is not good: actions for {tape_slots(actions)} slots on a tape of {slots}"
        )
    return steps_again(actions)


@cache
def steps_forward(length: int, slots: int) -> int:
    """Steps forward that the driver makes, the first sweep up to the last state included.

    Raises:
        PlanError: a state would be kept that is none, or in a slot that there is not.

    >>> steps_forward(1000, 30)
    2472
    """
    if slots < 1:
        raise PlanError("the plan is not good: a state has no slot")
    if slots >= length:  # every state is kept
        return length - 1
    todo = [(length, slots)]
    done: dict[tuple[int, int], int] = {}
    while todo:
        n, s = todo[-1]
        if n == 1 or s == 1:
            done[n, s] = n * (n - 1) // 2
            todo.pop()
            continue
        ahead = split(n, s)
        if not 1 <= ahead < n:
            raise PlanError(f"the plan is not good: {ahead} of {n} steps to the next state kept")
        parts = (n - ahead, s - 1), (ahead, s)
        missing = [part for part in parts if part not in done]
        if missing:
            todo += missing
        else:
            done[n, s] = ahead + sum(done[part] for part in parts)
            todo.pop()
    return done[length, slots]
