"""A value as a grid of blocks: cut along its axes, each block a variable or one scalar."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ckpt.ir.program import Lit, Var
from ckpt.ir.types import Type

Index = tuple[int, ...]
Cuts = tuple[tuple[int, ...], ...]
"""Per axis, where blocks begin, and where the last one ends."""


@dataclass(frozen=True, slots=True)
class Splat:
    """A block whose elements are all the same scalar; it lives in no buffer."""

    value: Lit


Block = Var | Splat


@dataclass(frozen=True, eq=False)
class Grid:
    """A value in blocks.

    Attributes:
        type: of the value.
        cuts: where it is cut.
        blocks: by their place in the grid.
    """

    type: Type
    cuts: Cuts
    blocks: Mapping[Index, Block]

    @staticmethod
    def one(type: Type, block: Block) -> "Grid":  # noqa: A002
        """A value that is not cut."""
        return Grid(type, uncut(type.shape), {(0,) * type.ndim: block})

    @property
    def is_one(self) -> bool:
        """Whether it is not cut."""
        return len(self.blocks) == 1

    def shape(self, index: Index) -> tuple[int, ...]:
        """The shape of a block."""
        return tuple(c[i + 1] - c[i] for c, i in zip(self.cuts, index, strict=True))

    def start(self, index: Index) -> tuple[int, ...]:
        """Where a block begins."""
        return tuple(c[i] for c, i in zip(self.cuts, index, strict=True))


def uncut(shape: Sequence[int]) -> Cuts:
    """No cuts.

    >>> uncut((3, 4))
    ((0, 3), (0, 4))
    """
    return tuple((0, n) for n in shape)


def places(cuts: Cuts) -> Iterator[Index]:
    """The places of a grid, in order.

    >>> list(places(((0, 1, 3), (0, 4))))
    [(0, 0), (1, 0)]
    """
    return product(*(range(len(c) - 1) for c in cuts))


def union(*cuts: tuple[int, ...]) -> tuple[int, ...]:
    """All cuts of one axis.

    >>> union((0, 2, 5), (0, 3, 5))
    (0, 2, 3, 5)
    """
    merged = sorted({at for one in cuts for at in one})
    return tuple(merged) if len(merged) > 1 else cuts[0]
