"""Where rolled operands are cut: boxes of a loop in which each is walked straight through."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

from ckpt.ir.kernel import Axes, Map


def rolls_of(kernel: Map, axes: Sequence[Axes], rank: int) -> list[Axes]:
    """Per operand, how far it is rolled along each axis of the loop.

    >>> rolls_of(Map("copy", ((1,),), ((3,),)), ((1,),), 2)
    [(0, 3)]
    """
    rolls: list[Axes] = []
    for walked, by in zip(axes, kernel.by or (), strict=True):
        along = [0] * rank
        for axis, k in zip(walked, by, strict=True):
            if axis >= 0:
                along[axis] = k
        rolls.append(tuple(along))
    return rolls


def boxes(shape: Axes, rolls: Sequence[Axes]) -> Iterator[tuple[Axes, Axes]]:
    """The first index and the size of each box, in row-major order.

    An operand rolled by `k` along an axis comes back from its end at index `k` of the loop.

    >>> list(boxes((5,), [(2,), (0,)]))
    [((0,), (2,)), ((2,), (3,))]
    """
    cuts = [
        list(pairwise(sorted({0, n, *(by[axis] for by in rolls)}))) if n else []
        for axis, n in enumerate(shape)
    ]
    for box in product(*cuts):
        yield tuple(a for a, _ in box), tuple(b - a for a, b in box)
