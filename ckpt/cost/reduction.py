"""How a reduction walks through its elements: what it combines first, and what is left for last.

Sums of floats depend on their order. It is fixed by where operands stand, never by a plan: along
neighbouring elements `LANES` accumulators take turns and are combined by a fixed tree; otherwise
elements are added one after another, for several neighbouring results at once where that can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.ir.axes import Nest, inner_pattern, merge
from ckpt.ir.layout import Layout

LANES = 16
"""Accumulators of a reduction along neighbouring elements: a fixed order, whatever the plan."""

COLUMNS = 64
"""Neighbouring results that are worked on together where there are so many: four lines of the
cache in every row, which the processor fetches ahead. One alone waits for each addition."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The loops of a reduction.

    Attributes:
        kept: the axes of the result, with the strides of the result, then of each operand.
        reduced: the axes combined along, with the strides of each operand; at least one.
        column: whether neighbouring results are worked on together, because elements are
            neighbours along the last kept axis; otherwise lanes run along the last reduced one.
        inner: per operand, its stride along that axis: "1", "0" or "s".
    """

    kept: Nest
    reduced: Nest
    column: bool
    inner: str

    @property
    def order(self) -> int | None:
        """In what order elements are combined: equal for walks that give the same bits.

        None when they are combined one after another. Otherwise lanes run along the last reduced
        axis, and what matters is how much of it is left when they have taken all they can.
        """
        if self.column or "s" in self.inner:
            return None
        n = self.reduced.sizes[-1]
        return n if n % LANES else 0


def walk(code: str, kept: Nest, reduced: Nest) -> Walk:
    """The loops of a reduction whose axes have been merged (`ckpt.ir.axes.merge`).

    Args:
        code: what combines two elements.
        kept: strides of the result, then of each operand.
        reduced: strides of each operand.
    """
    n_ins = len(kept.strides) - 1
    if reduced.rank == 0:
        reduced = Nest((1,), ((1,),) * n_ins)
    along_reduced = inner_pattern(reduced.strides)
    along_kept = inner_pattern(kept.strides[1:]) if kept.rank else ""
    column = (
        code in ("add", "mul", "max", "min")
        and kept.rank > 0
        and inner_pattern(kept.strides[:1]) == "1"
        and "s" not in along_kept
        and "1" in along_kept
        # where lanes cannot run along the reduced axis, columns combine in the same order, faster
        and ("1" not in along_reduced or "s" in along_reduced)
    )
    return Walk(kept, reduced, column, along_kept if column else along_reduced)


def walk_along(
    code: str, shape: Sequence[int], axes: Sequence[int], strides: Sequence[Sequence[int]]
) -> Walk:
    """The loops of a reduction of elements that are made of operands.

    Args:
        code: what combines two elements.
        shape: of the elements.
        axes: combined along; the result is contiguous.
        strides: of each operand along each axis of the elements.
    """
    kept = [i for i in range(len(shape)) if i not in axes]
    out = Layout.contiguous(tuple(shape[i] for i in kept)).strides
    return walk(
        code,
        merge([shape[i] for i in kept], [out, *([s[i] for i in kept] for s in strides)]),
        merge([shape[i] for i in sorted(axes)], [[s[i] for i in sorted(axes)] for s in strides]),
    )
