"""Loops there and back: which steps to run again, and what to keep, in how much memory.

A loop of ``n`` steps is run, and then its steps are reversed from the last to the first.  Reversing
a step needs its first state, or what the step leaves behind.  Each module is one kind of loop:

- ``binomial``: equal steps, states in slots, in closed form;
- ``mixed``: equal steps, states and whole steps' residuals in one memory;
- ``unequal``: a chain of steps that differ;
- ``two_level``: slow memory besides, with the time of writes and reads;
- ``online``: a loop whose length nobody knows.

A schedule is a small value; its actions follow from it lazily, and ``replay`` trusts none of them.
``proved`` gives the actions of a schedule, ours or of the package ``checkpoint_schedules``, for a
loop of a given length or says what is wrong; ``ckpt.scan(..., schedule=...)`` runs them.
``options`` lists what more memory buys.

>>> loop = Loop(1000, 2**20, 6 * 2**20, 1e-4, 1.2e-4, 2e-4, working_bytes=10 * 2**20)
>>> option = best_within(options(loop), 100 * 2**20)
>>> option.schedule
Mixed(length=1000, units=77, carry=1, residual=6)
>>> replay(option.schedule, 1000).advances == option.advances
True
"""

from policies.loops.actions import IN_HAND, INPUT, Action, Kind, Schedule, Tape, sweep
from policies.loops.binomial import Binomial, forward_steps, split
from policies.loops.given import proved
from policies.loops.mixed import Mixed
from policies.loops.online import Keeper, Online, way_back
from policies.loops.options import Halves, Loop, Option, best_within, options, pareto
from policies.loops.referee import Replay, replay
from policies.loops.two_level import TwoLevel
from policies.loops.unequal import Step, Unequal

__all__ = [
    "INPUT",
    "IN_HAND",
    "Action",
    "Binomial",
    "Halves",
    "Keeper",
    "Kind",
    "Loop",
    "Mixed",
    "Online",
    "Option",
    "Replay",
    "Schedule",
    "Step",
    "Tape",
    "TwoLevel",
    "Unequal",
    "best_within",
    "forward_steps",
    "options",
    "pareto",
    "proved",
    "replay",
    "split",
    "sweep",
    "way_back",
]
