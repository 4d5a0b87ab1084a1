"""A contraction as a batch of matrix products: which operands can be read where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from ckpt.ir.kernel import Contract
from ckpt.ir.layout import Layout
from ckpt.ir.types import Type

SMALL = 64
"""Multiplications per product up to which plain loops beat a call of BLAS."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Lengths of a group of axes, with the strides of an operand along them, in elements."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def merged(self) -> int | None:
        """The one stride that walks through all axes in order, or None when there is none."""
        walked = [(n, s) for n, s in zip(self.sizes, self.strides, strict=True) if n != 1]
        if any(outer != inner * n for (_, outer), (n, inner) in pairwise(walked)):
            return None
        return walked[-1][1] if walked else 0


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand of a batched matrix product: its batch, free and contracted axes."""

    batch: Axes
    free: Axes
    summed: Axes

    def matrix(self) -> tuple[int, bool] | None:
        """The leading dimension, and whether it is the summed axis that is far apart.

        None when no product can read the operand where it stands: it must be packed first. A
        contiguous matrix of rows of summed elements is `(summed, False)`.
        """
        n_free, n_summed = prod(self.free.sizes), prod(self.summed.sizes)
        free, summed = self.free.merged(), self.summed.merged()
        if free is None or summed is None:
            return None
        if (n_summed == 1 or summed == 1) and (n_free == 1 or free >= max(1, n_summed)):
            return (max(1, n_summed) if n_free == 1 else free), False
        if (n_free == 1 or free == 1) and (n_summed == 1 or summed >= max(1, n_free)):
            return (max(1, n_free) if n_summed == 1 else summed), True
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape when packed: batch, free, summed."""
        return (*self.batch.sizes, *self.free.sizes, *self.summed.sizes)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides where it stands, in the order of `shape`."""
        return (*self.batch.strides, *self.free.strides, *self.summed.strides)

    def packed(self) -> "Operand":
        """The same operand after it was copied: without gaps, contracted axes last.

        Where those that are free are nearest together already, they come last.
        """
        matrix = self.matrix()
        free_last = matrix is not None and matrix[1]
        batch, free, summed = self.batch.sizes, self.free.sizes, self.summed.sizes
        order = (*batch, *summed, *free) if free_last else (*batch, *free, *summed)
        strides = Layout.contiguous(order).strides
        of_free = len(batch) + (len(summed) if free_last else 0)
        of_summed = len(batch) + (0 if free_last else len(free))
        return Operand(
            Axes(batch, strides[: len(batch)]),
            Axes(free, strides[of_free : of_free + len(free)]),
            Axes(summed, strides[of_summed : of_summed + len(summed)]),
        )


@dataclass(frozen=True, slots=True)
class Product:
    """`out[b,m,n] = Σ_k a[b,m,k] c[b,n,k]`, each letter a group of axes."""

    left: Operand
    right: Operand

    @property
    def m(self) -> int:
        """Rows of a product."""
        return prod(self.left.free.sizes)

    @property
    def n(self) -> int:
        """Columns of a product."""
        return prod(self.right.free.sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result: batch, rows of left, rows of right."""
        return (*self.left.batch.sizes, *self.left.free.sizes, *self.right.free.sizes)

    @property
    def k(self) -> int:
        """Terms of each sum."""
        return prod(self.left.summed.sizes)


def product(kernel: Contract, ins: Sequence[Type], layouts: Sequence[Layout]) -> Product:
    """Sort the axes of both factors, the last two operands, into batch, free and summed ones."""
    sides: list[Operand] = []
    for side in (0, 1):
        shape, strides = ins[side + kernel.adds].shape, layouts[side + kernel.adds].strides
        batch, summed = kernel.batch[side], kernel.contract[side]
        free = [i for i in range(len(shape)) if i not in batch and i not in summed]
        groups = (
            Axes(tuple(shape[i] for i in axes), tuple(strides[i] for i in axes))
            for axes in (batch, free, summed)
        )
        sides.append(Operand(*groups))
    return Product(*sides)


def uses_blas(form: Product, dtype_is_float: bool) -> bool:
    """Whether a contraction is more than plain loops, by shapes alone, so that bits never change.

    Of those, large ones are our own (`ckpt.cost.tiled`).
    """
    return dtype_is_float and form.k > 1 and form.m * form.n * form.k > SMALL
