"""Lets that can be steps of a loop: what they do per element, and what they read."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from ckpt.cost.reduction import walk_along
from ckpt.ir.kernel import Axes, Reduce
from ckpt.ir.program import Atom, Eqn, Program, SourceLine, Var
from ckpt.ir.storage import Stored
from ckpt.ops.elementwise import FLOPS, Elementwise
from ckpt.ops.fused import REDUCTIONS
from ckpt.simplify.seen import Seen, Way

EXPENSIVE_FLOPS = 10.0
"""A step of at least so many flops per element (exp, tanh, log, ...) never runs twice."""


class Read(NamedTuple):
    """An operand of a step, and how the loop walks through it."""

    value: Atom
    way: Way

    def along(self, way: Way) -> "Read":
        """The same operand in a loop around, which walks through the step's own loop that way."""
        return Read(self.value, self.way.within(way, self.value.type))

    @property
    def rolled(self) -> bool:
        """Whether it comes back from the end of an axis."""
        return any(self.way.by)


@dataclass(frozen=True, slots=True)
class Step:
    """An elementwise let, or a reduction.

    Attributes:
        let: its id.
        out: its result.
        shape: of the loop: of the result, or of what is reduced.
        code: the scalar code; "" for a reduction.
        reads: its operands, seen through views.
        reduce: for a reduction, what combines elements and along which axes.
        order: for a reduction, the order in which it combines elements (`Walk.order`).
        source: its line.
    """

    let: int
    out: Var
    shape: Axes
    code: str
    reads: tuple[Read, ...]
    reduce: tuple[str, Axes] | None
    order: int | None
    source: SourceLine | None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def flops(self) -> float:
        """Per element."""
        return FLOPS.get(self.code, 1.0)

    @property
    def expensive(self) -> bool:
        """Whether it is too much work to do twice."""
        return self.flops >= EXPENSIVE_FLOPS


def steps_of(
    program: Program,
    stored: Mapping[Var, Stored],
    seen: Mapping[Var, Seen],
    straight: Mapping[Var, Seen],
) -> dict[int, Step]:
    """The lets of a program that can be steps, by id; empty arrays are left alone.

    Args:
        program: any program.
        stored: where its variables stand.
        seen: what elementwise lets read, seen through views and rolls.
        straight: what reductions read, seen through views.
    """
    found: dict[int, Step] = {}
    for let, eqn in enumerate(program.eqns):
        if len(eqn.outs) != 1 or not eqn.ins or any(0 in x.type.shape for x in eqn.ins):
            continue
        (out,) = eqn.outs
        if isinstance(eqn.op, Elementwise):
            reads = tuple(_read(x, seen) for x in eqn.ins)
            shape, code = out.type.shape, eqn.op.name
            found[let] = Step(let, out, shape, code, reads, None, None, eqn.source)
        elif (reduction := _reduction(let, eqn, stored, straight)) is not None:
            found[let] = reduction
    return found


def _read(x: Atom, seen: Mapping[Var, Seen]) -> Read:
    return Read(seen[x].value, seen[x].way) if isinstance(x, Var) else Read(x, Way((), ()))


def _reduction(
    let: int, eqn: Eqn, stored: Mapping[Var, Stored], seen: Mapping[Var, Seen]
) -> Step | None:
    x = eqn.ins[0]
    kernel = eqn.op.lower(*(x.type for x in eqn.ins))
    if not isinstance(x, Var) or not isinstance(kernel, Reduce) or kernel.element is not None:
        return None
    if kernel.code not in REDUCTIONS:
        return None
    shape = x.type.shape
    order = walk_along(kernel.code, shape, kernel.axes, [stored[x].layout.strides]).order
    reduce = kernel.code, kernel.axes
    return Step(let, eqn.outs[0], shape, "", (_read(x, seen),), reduce, order, eqn.source)
