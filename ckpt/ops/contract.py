"""Contraction: the batched matrix product from which `matmul`, `einsum`, `tensordot` are made.

A let `y = dot[contract, batch] a b` names axes by number, so that no operand has to be copied
into a standard order first: kernels read transposed operands where they stand.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import final

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Contract
from ckpt.ir.op import OPS, Array, Cost, Multilinear, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type

Axes = tuple[int, ...]


@final
@primitive
class Dot(Multilinear):
    """Batched contraction over numbered axes: `f32[b,n,k], f32[b,k,m] -> f32[b,n,m]`.

    Result axes are the batch axes, the free axes of operand 0, the free axes of operand 1. Sums
    run in the dtype of the operands.

    Attributes:
        contract: the axes of operand 0 and of operand 1 that are summed over, paired in order.
        batch: the axes of operand 0 and of operand 1 that are kept together, paired in order.
    """

    contract: tuple[Axes, Axes]
    batch: tuple[Axes, Axes] = ((), ())

    def free(self, operand: int, ndim: int) -> Axes:
        """The axes of an operand that are neither contracted nor batched, in order."""
        taken = {*self.contract[operand], *self.batch[operand]}
        return tuple(i for i in range(ndim) if i not in taken)

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes two operands", *ins)
        a, b = ins
        require(a.dtype is b.dtype, self, "operands must have the same dtype; cast one", a, b)
        require(a.dtype is not DType.BOOL, self, "operands are bool; cast them to a number", a, b)
        for operand, t in enumerate(ins):
            axes = (*self.contract[operand], *self.batch[operand])
            inside = all(0 <= i < t.ndim for i in axes)
            require(inside, self, f"axes {axes} are not all axes of operand {operand}", a, b)
            once = len(set(axes)) == len(axes)
            require(once, self, f"axes {axes} of operand {operand} repeat", a, b)
        for what, (left, right) in (("contracted", self.contract), ("batch", self.batch)):
            even = len(left) == len(right)
            require(even, self, f"{what} axes {left} and {right} differ in number", a, b)
            for i, j in zip(left, right, strict=True):
                same = a.shape[i] == b.shape[j]
                require(same, self, f"{what} axes {i} and {j} differ in length", a, b)
        shape = [a.shape[i] for i in self.batch[0]]
        shape += [a.shape[i] for i in self.free(0, a.ndim)]
        shape += [b.shape[i] for i in self.free(1, b.ndim)]
        return a.reshaped(tuple(shape))

    def impl(self, *ins: Array) -> Array:
        a, b = ins
        batch = [a.shape[i] for i in self.batch[0]]
        rows = [a.shape[i] for i in self.free(0, a.ndim)]
        columns = [b.shape[i] for i in self.free(1, b.ndim)]
        summed = prod(a.shape[i] for i in self.contract[0])
        n = prod(batch)
        left = a.transpose((*self.batch[0], *self.free(0, a.ndim), *self.contract[0]))
        right = b.transpose((*self.batch[1], *self.contract[1], *self.free(1, b.ndim)))
        product = np.matmul(
            left.reshape(n, prod(rows), summed), right.reshape(n, summed, prod(columns))
        )
        return product.reshape((*batch, *rows, *columns))

    def cost(self, *ins: Type) -> Cost:
        out = self.type(*ins)
        summed = prod(ins[0].shape[i] for i in self.contract[0])
        return Cost(2.0 * out.size * summed, ins[0].nbytes + ins[1].nbytes, out.nbytes)

    def lower(self, *ins: Type) -> Contract:
        del ins
        return Contract(self.contract, self.batch)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return frozenset({0}), frozenset({1})

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        assert ct is not None
        linear = 0 if ins[0].type.linear else 1
        cotangents: list[Var | None] = [None, None]
        cotangents[linear] = self._cotangent(b, ct, ins, linear)
        return cotangents

    def _cotangent(self, b: Builder, ct: Var, ins: Sequence[Atom], linear: int) -> Var:
        """The cotangent of operand `linear`: a contraction of `ct` with the other operand.

        Its free axes come out in two groups, whose order is that of its operands: the order is
        chosen that needs no `permute` afterwards, where one exists.
        """
        other = ins[1 - linear]
        wanted = ins[linear].type.ndim
        n_batch = len(self.batch[0])
        free = self.free(linear, wanted)
        other_free = self.free(1 - linear, other.type.ndim)
        n_left = len(self.free(0, ins[0].type.ndim))
        starts = (n_batch, n_batch + n_left)
        ct_other = _range(starts[1 - linear], len(other_free))
        ct_batch = _range(0, n_batch)
        # where the axes of the other operand that were contracted belong
        summed = dict(zip(self.contract[1 - linear], self.contract[linear], strict=True))
        rest = tuple(summed[i] for i in sorted(summed))
        first = self.batch[linear]
        if (*first, *rest, *free) == _range(0, wanted):
            dot = Dot((other_free, ct_other), (self.batch[1 - linear], ct_batch))
            return b.emit(dot, other, ct)
        dot = Dot((ct_other, other_free), (ct_batch, self.batch[1 - linear]))
        product = b.emit(dot, ct, other)
        return _permuted(b, product, (*first, *free, *rest))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            for op, left, right in _SAMPLES:
                yield Sample(op, (Type(left, dtype), Type(right, dtype)))
        integers = (Type((3, 4), DType.I32), Type((4, 2), DType.I32))
        yield Sample(Dot(((1,), (0,))), integers, low=-9, high=9)
        longs = (Type((2, 3, 4), DType.I64), Type((2, 4), DType.I64))
        yield Sample(Dot(((2,), (1,)), ((0,), (0,))), longs, low=-9, high=9)


def _range(start: int, n: int) -> Axes:
    return tuple(range(start, start + n))


def _permuted(b: Builder, x: Var, places: Axes) -> Var:
    """Move axis `i` of `x` to place `places[i]`."""
    order = tuple(places.index(i) for i in range(len(places)))
    if order == _range(0, len(order)):
        return x
    return b.emit(OPS["permute"](order), x)  # pyright: ignore[reportCallIssue]


_SAMPLES: tuple[tuple[Dot, Axes, Axes], ...] = (
    (Dot(((1,), (0,))), (5, 3), (3, 4)),  # a b
    (Dot(((0,), (0,))), (3, 5), (3, 4)),  # aᵀ b
    (Dot(((1,), (1,))), (5, 3), (4, 3)),  # a bᵀ
    (Dot(((0,), (1,))), (3, 5), (4, 3)),  # (b a)ᵀ
    (Dot(((0,), (0,))), (6,), (6,)),  # inner product
    (Dot(((), ())), (3,), (4,)),  # outer product
    (Dot(((), ())), (), (4,)),  # by a scalar
    (Dot(((1,), (0,))), (5, 3), (3,)),  # matrix by vector
    (Dot(((0,), (0,))), (3,), (3, 5)),  # vector by matrix
    (Dot(((2,), (1,)), ((0,), (0,))), (2, 5, 3), (2, 3, 4)),  # a batch
    (Dot(((3,), (3,)), ((0, 1), (0, 1))), (2, 3, 4, 5), (2, 3, 6, 5)),  # attention scores
    (Dot(((2,), (0,)), ((1,), (2,))), (4, 2, 3), (3, 5, 2)),  # batch axes inside
    (Dot(((0, 2), (2, 0))), (3, 4, 2), (2, 5, 3)),  # two contracted axes, crossed
    (Dot(((2, 1), (0, 1))), (4, 3, 2), (2, 3, 5)),  # two contracted axes, reversed
    (Dot(((), ()), ((0,), (1,))), (4, 3), (2, 4)),  # nothing contracted
    (Dot(((), ()), ((1, 0), (0, 1))), (4, 3), (3, 4)),  # elementwise
    (Dot(((1,), (0,))), (2, 0), (0, 3)),  # an empty sum is zero
    (Dot(((1,), (0,))), (0, 2), (2, 3)),  # an empty result
)
