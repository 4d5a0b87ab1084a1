"""Reductions that are not linear: extrema, where they stand, and products."""

from collections.abc import Callable, Iterable, Sequence
from math import prod

import numpy as np

from ckpt.ir.build import Builder, lit
from ckpt.ir.kernel import Kernel, Reduce
from ckpt.ir.op import Array, Constant, Cost, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.arithmetic import Cast, Div, Gate, Mul
from ckpt.ops.broadcast import Sum, along, without
from ckpt.ops.elementwise import ALL
from ckpt.ops.logic import Equal
from ckpt.ops.scan import Cumprod, before
from ckpt.ops.shape import Permute, Reshape

Axes = tuple[int, ...]


def _type_of_choice(op: Op, axes: Axes, ins: Sequence[Type]) -> Type:
    require(len(ins) == 1, op, "takes one operand", *ins)
    out = ins[0].reshaped(without(op, axes, ins[0]))
    require(out.size == 0 or ins[0].size > 0, op, "there is no element to choose", *ins)
    return out


def _choice_tangent(b: Builder, axes: Axes, x: Atom, out: Var, dx: Var) -> Var:
    """Tangents pass where the extremum is attained, a mask of one byte per element; ties share."""
    mask = b.emit(Equal(), x, along(b, out, axes, x.type.shape))
    count = b.emit(Sum(axes), b.emit(Cast(x.type.dtype), mask))
    total = b.emit(Sum(axes), b.emit(Gate(), dx, mask))
    return b.emit(Div(), total, count)


def _choice_samples(make: Callable[[Axes], Op]) -> Iterable[Sample]:
    for axes in ((0,), (1,), (0, 2), (0, 1, 2), ()):
        yield Sample(make(axes), (Type((2, 3, 4), DType.F64),), spread=True)
    for dtype in ALL:
        yield Sample(make((1,)), (Type((2, 3), dtype),), -5, 5, spread=dtype.is_float)
    yield Sample(make((1,)), (Type((0, 3), DType.F64),))
    yield Sample(make(()), (Type((), DType.F64),))


@primitive
class Max(Op):
    """The largest element along axes.   a[*s] -> a[*s without axes].

    NaN if any element is. Ties share the derivative evenly, as in JAX.
    """

    axes: Axes

    def type(self, *ins: Type) -> Type:
        return _type_of_choice(self, self.axes, ins)

    def impl(self, *ins: Array) -> Array:
        return np.asarray(np.max(ins[0], axis=self.axes))

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Reduce("max", self.axes)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (x,), (dx,) = ins, dins
        out = b.emit(self, x)
        return [out], [None if dx is None else _choice_tangent(b, self.axes, x, out, dx)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _choice_samples(cls)


@primitive
class Min(Op):
    """The smallest element along axes.   a[*s] -> a[*s without axes].

    NaN if any element is. Ties share the derivative evenly, as in JAX.
    """

    axes: Axes

    def type(self, *ins: Type) -> Type:
        return _type_of_choice(self, self.axes, ins)

    def impl(self, *ins: Array) -> Array:
        return np.asarray(np.min(ins[0], axis=self.axes))

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Reduce("min", self.axes)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (x,), (dx,) = ins, dins
        out = b.emit(self, x)
        return [out], [None if dx is None else _choice_tangent(b, self.axes, x, out, dx)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _choice_samples(cls)


class _Place(Constant):
    """a[*s] -> i64[*s without axis]: the first place of an extremum along one axis."""

    __slots__ = ()

    @property
    def _axes(self) -> Axes:
        return tuple(v for _, v in self.params())

    def type(self, *ins: Type) -> Type:
        return _type_of_choice(self, self._axes, ins).cast(DType.I64)

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Reduce(self.name, self._axes)


def _place_samples(make: Callable[[int], Op]) -> Iterable[Sample]:
    for axis in (0, 1, 2):
        yield Sample(make(axis), (Type((2, 3, 4), DType.F64),))
    for dtype in ALL:
        yield Sample(make(1), (Type((3, 5), dtype),), -2, 2)
    yield Sample(make(1), (Type((0, 3), DType.F64),))


@primitive
class Argmax(_Place):
    """Where the largest element stands, the first of them.   a[*s] -> i64[*s without axis].

    The first NaN, if there is one.
    """

    axis: int

    def impl(self, *ins: Array) -> Array:
        return np.asarray(np.argmax(ins[0], axis=self.axis))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _place_samples(cls)


@primitive
class Argmin(_Place):
    """Where the smallest element stands, the first of them.   a[*s] -> i64[*s without axis].

    The first NaN, if there is one.
    """

    axis: int

    def impl(self, *ins: Array) -> Array:
        return np.asarray(np.argmin(ins[0], axis=self.axis))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _place_samples(cls)


@primitive
class Prod(Op):
    """Product over axes.   a[*s] -> a[*s without axes];  the dtype stays, 1 for no elements.

    The derivative is the product of all others, made of running products from both ends, so
    that it is right where elements are zero, and so are the derivatives of the derivative.
    """

    axes: Axes

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(ins[0].dtype is not DType.BOOL, self, "cast the bools first", *ins)
        return ins[0].reshaped(without(self, self.axes, ins[0]))

    def impl(self, *ins: Array) -> Array:
        return np.asarray(np.prod(ins[0], axis=self.axes, dtype=ins[0].dtype))

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Reduce("mul", self.axes)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (x,), (dx,) = ins, dins
        out = b.emit(self, x)
        if dx is None or x.type.size == 0:
            return [out], [None]
        row, drow = self._as_rows(b, x), self._as_rows(b, dx)
        last = row.type.ndim - 1
        one = lit(1.0, x.type.dtype)
        left, right = (
            before(b, b.emit(Cumprod(last, reverse), row), one, last, reverse=reverse)
            for reverse in (False, True)
        )
        product = b.emit(Mul(), b.emit(Mul(), left, right), drow)
        return [out], [b.emit(Sum((last,)), product)]

    def _as_rows(self, b: Builder, x: Atom) -> Var:
        """Move the axes of the product to the end and make them one."""
        kept = tuple(i for i in range(x.type.ndim) if i not in self.axes)
        moved = b.emit(Permute(kept + self.axes), x)
        shape = tuple(x.type.shape[i] for i in kept)
        return b.emit(Reshape((*shape, prod(x.type.shape[i] for i in self.axes))), moved)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for axes in ((0,), (1,), (0, 2), (0, 1, 2), ()):
            yield Sample(cls(axes), (Type((2, 3, 4), DType.F64),), 0.5, 1.5)
        for dtype in (DType.F32, DType.I64, DType.I32):
            yield Sample(cls((1,)), (Type((2, 3), dtype),), -5, 5)
        yield Sample(cls((1,)), (Type((0, 3), DType.F64),))
        yield Sample(cls((0,)), (Type((0, 3), DType.F64),))
        yield Sample(cls(()), (Type((), DType.F64),))
