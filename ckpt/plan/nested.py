"""Programs that ops hold: where their values stand while a driver runs them."""

import weakref

from ckpt.errors import PlanError
from ckpt.ir.kernel import Nested
from ckpt.ir.program import Eqn, Program
from ckpt.plan.place import place
from ckpt.plan.plan import Plan
from ckpt.plan.schedule import running

_PLANS: weakref.WeakKeyDictionary[Program, Plan] = weakref.WeakKeyDictionary()


class _Free:
    """Costs that nobody asks for: a nested program's seconds are part of its op's."""

    fingerprint = ""

    def seconds(self, eqn: Eqn) -> float:
        """None."""
        del eqn
        return 0.0


def placed(program: Program) -> Plan:
    """The plan of a program that is run in the order of its lets; the same whenever it is asked."""
    plan = _PLANS.get(program)
    if plan is None:
        plan = _PLANS[program] = place(program, list(running(program)), costs=_Free())
    return plan


def nested_in(eqn: Eqn) -> tuple[Program, ...]:
    """The programs that a let runs, as its kernel says.

    Raises:
        PlanError: they have not been planned.
    """
    kernel = eqn.op.lower(*(x.type.plain() for x in eqn.ins))
    if not isinstance(kernel, Nested):
        return ()
    return kernel.programs


def check_arena(eqn: Eqn, said: int) -> None:
    """Raise unless the programs of a let fit into the arena that its op says they share.

    Raises:
        PlanError: one does not.
    """
    for program in nested_in(eqn):
        needed = placed(program).arena_bytes
        if needed > said:
            raise PlanError(
                f"the plan is not good: {program.name} needs an arena of {needed} bytes, "
                f"`{eqn.op.name}` has {said}"
            )
