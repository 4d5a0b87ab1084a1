"""Programs that ops hold: where their values stand while a driver runs them."""

import weakref

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
