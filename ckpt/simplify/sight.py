"""Looking at a program from results to operands, through the views in between."""

from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ir.storage import storage
from ckpt.simplify.seen import see_through

Labels = tuple[int | None, ...]
"""A name for each axis of a value, so that axes can be followed; None for an axis of length one
that was only added."""


class Sight:
    """The lets of a program by what they make."""

    def __init__(self, program: Program) -> None:
        self._seen = see_through(program, storage(program))
        self._maker = {v: eqn for eqn in program.eqns for v in eqn.outs}

    def behind(self, x: Atom, labels: Labels) -> tuple[Atom, Labels]:
        """What stands behind views that only rearrange and repeat axes, with its labels.

        A scalar beside arrays has none.
        """
        if not isinstance(x, Var) or not x.type.shape:
            return x, ()
        seen = self._seen[x]
        found = [labels[a] if a >= 0 else None for a in seen.way.axes]
        # which of several axes of length one is which, no view tells, and nothing depends on it
        ones = [label for label, n in zip(labels, x.type.shape, strict=True) if n == 1]
        lost = iter([label for label in ones if label is not None and label not in found])
        for axis, label in enumerate(found):
            if label is None:
                found[axis] = next(lost, None)
        return seen.value, tuple(found)

    def maker(self, x: Atom, name: str | None = None) -> Eqn | None:
        """The let that makes a value, if it is of the op of this name; views are looked at."""
        eqn = self._maker.get(x) if isinstance(x, Var) else None
        return eqn if eqn is not None and name in (None, eqn.op.name) else None

    def made(self, x: Atom, labels: Labels, name: str) -> tuple[Eqn, Labels] | None:
        """The let of this op behind a value, and the labels of its result."""
        value, found = self.behind(x, labels)
        eqn = self.maker(value, name)
        return None if eqn is None else (eqn, found)


def named(labels: Labels) -> tuple[int, ...]:
    """The labels without those of axes that were added."""
    return tuple(label for label in labels if label is not None)
