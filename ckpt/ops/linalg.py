"""Triangular and positive definite matrices, in batches: factorise, solve, cut out a triangle.

Matrices are the last two axes; the axes before them are a batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
from scipy.linalg import get_blas_funcs

from ckpt.ir.build import Builder
from ckpt.ir.cuts import cuts
from ckpt.ir.kernel import Library, Part
from ckpt.ir.op import Array, Cost, Linear, Op, Sample, Tangents, make, primitive, require
from ckpt.ir.program import Atom, Lit, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.contract import Dot


@final
@primitive
class Triangle(Linear):
    """Keep a triangle of each matrix, zeros elsewhere: `f32[*b,n,m] -> f32[*b,n,m]`.

    Attributes:
        keeps_lower: keep what is on and below a diagonal, else what is on and above it.
        k: which diagonal: 0 is the main one, 1 the one above it.
    """

    keeps_lower: bool
    k: int = 0

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(ins[0].ndim >= 2, self, "takes matrices", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        return np.tril(ins[0], self.k) if self.keeps_lower else np.triu(ins[0], self.k)

    def cost(self, *ins: Type) -> Cost:
        return Cost(0.0, ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Library:
        del ins
        return Library(self.name, (self.keeps_lower, self.k), moves=True)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        assert ct is not None
        return (b.emit(self, ct),)

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (0,)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for keeps_lower in (True, False):
            for shape in ((4, 4), (3, 5), (2, 5, 3), (2, 3, 0), (0, 2, 2)):
                for k in (-1, 0, 2):
                    yield Sample(cls(keeps_lower, k), (Type(shape, DType.F64),))
            yield Sample(cls(keeps_lower, 9), (Type((3, 4), DType.F32),))
            yield Sample(cls(keeps_lower, -9), (Type((2, 1, 2, 3), DType.I32),), low=-9, high=9)
            yield Sample(cls(keeps_lower), (Type((3, 3), DType.BOOL),))


@final
@primitive
class Cholesky(Op):
    """The lower triangular `l` with `l lᵀ = a`, a positive definite: `f32[*b,n,n] -> f32[*b,n,n]`.

    Only the lower triangle of `a` is read. Where `a` is not positive definite, all of `l` is NaN.

    Source: Iain Murray. Differentiation of the Cholesky decomposition. 2016 (the forward rule).
    """

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        _check_square(self, ins[0], *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        (a,) = ins
        out = np.full(a.shape, np.nan, a.dtype)
        for i in np.ndindex(a.shape[:-2]):
            try:
                found = np.linalg.cholesky(a[i])
            except np.linalg.LinAlgError:
                continue
            if not np.isnan(np.diagonal(found)).any():
                out[i] = found
        return out

    def cost(self, *ins: Type) -> Cost:
        n = ins[0].shape[-1]
        return Cost(ins[0].size * n / 3, ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Library:
        del ins
        return Library(self.name)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        # With p = l⁻¹ da l⁻ᵀ, dl = l phi(p): phi keeps the lower triangle, half of its diagonal.
        (da,) = dins
        assert da is not None
        l = b.emit(self, *ins)
        solve = TriangularSolve(reads_lower=True)
        below = b.emit(Triangle(True, -1), da)
        symmetric = b.sum_of(b.emit(Triangle(True), da), _swapped(b, below))
        assert symmetric is not None
        p = b.emit(solve, l, _swapped(b, b.emit(solve, l, symmetric)))
        twice = b.sum_of(b.emit(Triangle(True), p), b.emit(Triangle(True, -1), p))
        assert twice is not None
        phi = b.emit(make("mul"), twice, Lit(0.5, p.type.dtype))
        return [l], [_product(b, l, phi)]

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (0,)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            for shape in ((4, 4), (2, 3, 3), (1, 1), (0, 0), (0, 2, 2)):
                yield Sample(cls(), (Type(shape, dtype),), positive_definite=(0,))


@final
@primitive
class TriangularSolve(Op):
    """The `x` with `a x = b` for triangular a: `f32[*b,n,n], f32[*b,n,m] -> f32[*b,n,m]`.

    It is linear in `b`. A zero on the diagonal gives infinities or NaN.

    Attributes:
        reads_lower: the lower triangle of `a` is read, else the upper one; the other is not.
        transpose_a: solve `aᵀ x = b` instead.
        unit_diagonal: the diagonal of `a` is taken to be one and not read.
    """

    reads_lower: bool
    transpose_a: bool = False
    unit_diagonal: bool = False

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes a matrix and right-hand sides", *ins)
        a, b = ins
        _check_square(self, a, *ins)
        require(a.dtype is b.dtype, self, "operands must have the same dtype; cast one", *ins)
        why = "right-hand sides must be matrices; give a vector a last axis of length one"
        require(b.ndim >= 2, self, why, *ins)
        why = "batch axes must be the same; broadcast the operands first"
        require(a.shape[:-2] == b.shape[:-2], self, why, *ins)
        why = "there are not as many equations as rows of the right-hand sides"
        require(a.shape[-1] == b.shape[-2], self, why, *ins)
        return b

    def impl(self, *ins: Array) -> Array:
        a, b = ins
        out = np.empty(b.shape, b.dtype)
        solve: Any = get_blas_funcs("trsm", dtype=b.dtype)
        flags = {
            "lower": self.reads_lower,
            "trans_a": self.transpose_a,
            "diag": self.unit_diagonal,
        }
        for i in np.ndindex(b.shape[:-2]) if out.size else ():
            out[i] = solve(1.0, a[i], b[i], **flags)
        return out

    def cost(self, *ins: Type) -> Cost:
        a, b = ins
        scratch = self.lower(*ins).scratch_bytes
        return Cost(float(b.size * a.shape[-1]), a.nbytes // 2 + b.nbytes, b.nbytes, scratch)

    def lower(self, *ins: Type) -> Library:
        a, b = ins
        n, columns = b.shape[-2:]
        block = max(1, min(_BLOCK, n))
        flags = (self.reads_lower, self.transpose_a, self.unit_diagonal)
        kernel = Library(self.name, (*flags, block, columns), block * block * a.dtype.itemsize)
        found = cuts(columns, float(b.size) * n / _PART_FLOPS, _PART_COLUMNS)
        if len(found) < 2:
            return kernel
        along = b.ndim - 1
        pieces = (((), ((along, *part),), ((along, *part),)) for part in found)
        parts = tuple(Part(of, kernel.params) for of in pieces)
        return replace(kernel, scratch_bytes=kernel.scratch_bytes * len(parts), parts=parts)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return (frozenset({1}),)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        # From a x = y: a dx = dy - da x, where da counts only where a is read.
        a, _ = ins
        da, dy = dins
        x = b.emit(self, *ins)
        if da is not None:
            inside = int(self.unit_diagonal)
            k = -inside if self.reads_lower else inside
            read = b.emit(Triangle(self.reads_lower, k), da)
            moved = _product(b, read, x, transpose_left=self.transpose_a)
            dy = b.sum_of(dy, b.emit(make("neg"), moved))
        assert dy is not None
        return [x], [b.emit(self, a, dy)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        assert ct is not None
        back = TriangularSolve(self.reads_lower, not self.transpose_a, self.unit_diagonal)
        return None, b.emit(back, ins[0], ct)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            for flags in ((i % 2 > 0, i // 2 % 2 > 0, i // 4 > 0) for i in range(8)):
                ins = (Type((2, 3, 3), dtype), Type((2, 3, 4), dtype))
                yield Sample(cls(*flags), ins, positive_definite=(0,))
            for a, b in (((4, 4), (4, 1)), ((0, 0), (0, 3)), ((2, 2), (2, 0))):
                ins = (Type(a, dtype), Type(b, dtype))
                yield Sample(cls(reads_lower=True), ins, positive_definite=(0,))


def _check_square(op: Op, a: Type, *ins: Type) -> None:
    require(a.ndim >= 2 and a.shape[-1] == a.shape[-2], op, "takes square matrices", *ins)
    takes = a.dtype.is_float and not a.dtype.is_half
    require(takes, op, "takes floats, f32 or f64; cast the operands", *ins)


def _swapped(b: Builder, x: Var) -> Var:
    """The transposes of matrices."""
    n = x.type.ndim
    return b.emit(make("permute", axes=(*range(n - 2), n - 1, n - 2)), x)


def _product(b: Builder, left: Var, right: Var, *, transpose_left: bool = False) -> Var:
    """The products of matrices."""
    n = left.type.ndim
    batch = tuple(range(n - 2))
    summed = n - 2 if transpose_left else n - 1
    return b.emit(Dot(((summed,), (n - 2,)), (batch, batch)), left, right)


_BLOCK = 64
"""Rows that are solved by substitution; a product takes them off all that follow."""

_PART_FLOPS = 8e6
"""Of a part of the right-hand sides, at least: some hundred microseconds."""

_PART_COLUMNS = 64
"""Parts begin at multiples of so many."""
