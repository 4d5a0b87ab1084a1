"""Seeing through views: which value stands behind a variable, and how its axes are walked."""

from dataclasses import dataclass

from ckpt.ir.kernel import Axes
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import Stored, is_view


@dataclass(frozen=True, slots=True)
class Seen:
    """Element `i` of a variable is element `i[axes[0]], i[axes[1]], ...` of `value`.

    Attributes:
        value: what stands behind it: itself, where no view can be seen through.
        axes: per axis of the value, the axis of the variable; -1 for one of length one.
    """

    value: Var
    axes: Axes


def see_through(program: Program, stored: dict[Var, Stored]) -> dict[Var, Seen]:
    """For every variable of a program, the value behind the views that only rearrange axes.

    Those are `broadcast`, `permute`, `stop_gradient`, and `reshape` where it adds and removes
    axes of length one. A `mark` is not seen through: what is pinned stays where it is.
    """
    seen = {v: Seen(v, tuple(range(v.type.ndim))) for v in program.bound()}
    for eqn in program.eqns:
        if len(eqn.outs) == 1 and is_view(eqn, stored):
            moved = _moved(eqn)
            x = eqn.ins[0]
            if moved is not None and isinstance(x, Var):
                behind = seen[x]
                axes = tuple(moved[a] if a >= 0 else -1 for a in behind.axes)
                seen[eqn.outs[0]] = Seen(behind.value, axes)
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
