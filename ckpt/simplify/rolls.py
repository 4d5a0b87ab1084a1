"""Rolls in loops: which need not be written, and into how many boxes they cut a loop."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import prod

from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.storage import Stored, is_view
from ckpt.ops.roll import Roll
from ckpt.simplify.loops import Step
from ckpt.simplify.seen import Way


def seen_through(
    program: Program, stored: dict[Var, Stored], steps: Mapping[int, Step]
) -> set[int]:
    """The rolls whose only readers are steps, which read what is rolled in their place."""
    read = {stored[v].root for v in program.outs}
    found: set[int] = set()
    for let in range(len(program.eqns) - 1, -1, -1):
        eqn = program.eqns[let]
        values: list[Atom] = list(eqn.ins)
        if let in steps:
            values = [r.value for r in steps[let].reads]
        elif eqn.outs and is_view(eqn, stored):
            continue
        elif isinstance(eqn.op, Roll) and eqn.outs[0] not in read:
            found.add(let)
            continue
        read.update(stored[x].root for x in values if isinstance(x, Var))
    return found


def n_boxes(ways: Iterable[Way]) -> int:
    """Into how many boxes a loop is cut so that each way goes straight through each of them.

    >>> n_boxes([Way((0, 1), (0, 0)), Way((0, 1), (0, 1)), Way((0, 1), (3, 0))])
    4
    """
    cuts: dict[int, set[int]] = defaultdict(lambda: {0})
    for way in ways:
        for axis, by in zip(way.axes, way.by, strict=True):
            cuts[axis].add(by)
    return prod(map(len, cuts.values()))
