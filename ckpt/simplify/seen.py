"""Seeing through views: which value stands behind a variable, and how its axes are walked."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ckpt.ir.kernel import Axes
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import Stored, is_view
from ckpt.ir.types import Type
from ckpt.ops.roll import Roll


class Way(NamedTuple):
    """How a loop walks through an array: index `i` reads `i[axes[0]] - by[0], ...`, around.

    Attributes:
        axes: per axis of the array, the axis of the loop; -1 for one of length one.
        by: per axis of the array, how far it is rolled.
    """

    axes: Axes
    by: Axes

    @staticmethod
    def straight(rank: int) -> "Way":
        """Each axis by its own, from its start."""
        return Way(tuple(range(rank)), (0,) * rank)

    def within(self, outer: "Way", t: Type) -> "Way":
        """The way through an array of this type when the loop itself is walked by another."""
        return _within(self, outer, t.shape)


@lru_cache(1 << 12)
def _within(way: Way, outer: Way, shape: Axes) -> Way:
    by = (
        (k + outer.by[a]) % n if a >= 0 and outer.axes[a] >= 0 else 0
        for a, k, n in zip(way.axes, way.by, shape, strict=True)
    )
    return Way(tuple(outer.axes[a] if a >= 0 else -1 for a in way.axes), tuple(by))


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands behind a variable, and how it is walked through.

    Attributes:
        value: the variable itself, where nothing can be seen through.
        way: through the value, in a loop over the variable.
    """

    value: Var
    way: Way


def see_through(
    program: Program, stored: dict[Var, Stored], *, rolls: bool = False
) -> dict[Var, Seen]:
    """For every variable of a program, the value behind the views that only rearrange axes.

    Those are `broadcast`, `permute`, `stop_gradient`, and `reshape` where it adds and removes
    axes of length one. A `mark` is not seen through: what is pinned stays where it is.

    Args:
        program: any program.
        stored: where its variables stand.
        rolls: whether rolls are seen through too.
    """
    seen = {v: Seen(v, Way.straight(v.type.ndim)) for v in program.bound()}
    for eqn in program.eqns:
        moved: Way | None = None
        if rolls and isinstance(eqn.op, Roll):
            moved = Way(tuple(range(len(eqn.op.by))), eqn.op.by)
        elif len(eqn.outs) == 1 and is_view(eqn, stored):
            axes = _moved(eqn)
            moved = None if axes is None else Way(axes, (0,) * len(axes))
        x = eqn.ins[0] if eqn.ins else None
        if moved is not None and isinstance(x, Var):
            behind = seen[x]
            seen[eqn.outs[0]] = Seen(behind.value, behind.way.within(moved, behind.value.type))
    return seen


def _moved(eqn: Eqn) -> Axes | None:
    """Where each axis of the operand of a view went; None when axes were cut or joined."""
    params = dict(eqn.op.params())
    before, after = eqn.ins[0].type.shape, eqn.outs[0].type.shape
    match eqn.op.name:
        case "broadcast":
            return params["axes"]
        case "permute":
            return tuple(params["axes"].index(a) for a in range(len(before)))
        case "stop_gradient":
            return tuple(range(len(before)))
        case "reshape":
            long = [a for a, n in enumerate(after) if n != 1]
            if [n for n in before if n != 1] != [after[a] for a in long]:
                return None
            rest = iter(long)
            return tuple(next(rest) if n != 1 else -1 for n in before)
        case _:
            return None
