"""Broadcast and sum: each is the transpose of the other, so they live together."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Kernel, Map, NoKernel, Reduce
from ckpt.ir.layout import Layout
from ckpt.ir.op import Array, Cost, Linear, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type


@primitive
class Broadcast(Linear):
    """Repeat a value along new axes.   a[*s] -> a[*shape], always a view of a variable.

    Only a literal, which lives in no buffer, is written out (`Map("copy")`).

    Attributes:
        shape: the result's shape.
        axes: operand axis `i` is result axis `axes[i]`; increasing, and of equal length.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        (x,) = ins
        require(len(self.axes) == x.ndim, self, f"axes {self.axes} must name every axis", *ins)
        increasing = all(i < j for i, j in pairwise(self.axes))
        inside = all(0 <= i < len(self.shape) for i in self.axes)
        require(increasing and inside, self, f"axes {self.axes} must increase", *ins)
        kept = tuple(self.shape[i] for i in self.axes)
        require(kept == x.shape, self, f"axes {self.axes} of {self.shape} differ in length", *ins)
        require(min(self.shape, default=0) >= 0, self, "lengths must not be negative", *ins)
        return x.reshaped(self.shape)

    def impl(self, *ins: Array) -> Array:
        ones = [1] * len(self.shape)
        for axis, n in zip(self.axes, ins[0].shape, strict=True):
            ones[axis] = n
        return np.broadcast_to(ins[0].reshape(ones), self.shape)

    def cost(self, *ins: Type) -> Cost:
        if ins[0].shape:
            return Cost(0, 0, 0)
        return Cost(0, ins[0].nbytes, ins[0].reshaped(self.shape).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        return NoKernel("the result is a view of the operand") if ins[0].shape else Map("copy")

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        new = tuple(i for i in range(len(self.shape)) if i not in self.axes)
        return [b.emit(Sum(new), ct) if ct is not None and new else ct]

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        del ins
        strides = [0] * len(self.shape)
        for axis, stride in zip(self.axes, layouts[0].strides, strict=True):
            strides[axis] = stride
        return Layout(layouts[0].offset, tuple(strides))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((2, 3), (1,)), (Type((3,), DType.F64),))
        yield Sample(cls((2, 3, 4), (0, 2)), (Type((2, 4), DType.F32),))
        yield Sample(cls((2, 3), ()), (Type((), DType.F64),))
        yield Sample(cls((), ()), (Type((), DType.F64),))
        yield Sample(cls((0, 3), (1,)), (Type((3,), DType.F64),))
        yield Sample(cls((2, 3), (0, 1)), (Type((2, 3), DType.I32),))


@primitive
class Sum(Linear):
    """Sum over axes.   a[*s] -> a[*s without axes];  the dtype stays, 0 for no elements."""

    axes: tuple[int, ...]

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(ins[0].dtype is not DType.BOOL, self, "cast the bools first", *ins)
        return ins[0].reshaped(without(self, self.axes, ins[0]))

    def impl(self, *ins: Array) -> Array:
        return np.asarray(np.sum(ins[0], axis=self.axes, dtype=ins[0].dtype))

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Reduce("add", self.axes)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        return [None if ct is None else along(b, ct, self.axes, ins[0].type.shape)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((0,)), (Type((2, 3), DType.F64),))
        yield Sample(cls((1,)), (Type((2, 3), DType.F32),))
        yield Sample(cls((0, 2)), (Type((2, 3, 4), DType.F64),))
        yield Sample(cls((0, 1)), (Type((2, 3), DType.F64),))
        yield Sample(cls(()), (Type((2, 3), DType.F64),))
        yield Sample(cls(()), (Type((), DType.F64),))
        yield Sample(cls((0,)), (Type((0, 3), DType.F64),))
        yield Sample(cls((1,)), (Type((0, 3), DType.F64),))
        yield Sample(cls((0,)), (Type((4, 2), DType.I32),), -5, 5)
        yield Sample(cls((1,)), (Type((4, 2), DType.I64),), -5, 5)


def without(op: Op, axes: tuple[int, ...], x: Type) -> tuple[int, ...]:
    """The shape of `x` without `axes`, which must increase and be axes of `x`."""
    increasing = all(i < j for i, j in pairwise(axes))
    inside = all(0 <= i < x.ndim for i in axes)
    require(increasing and inside, op, f"axes {axes} must increase within {x.ndim} axes", x)
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


def along(b: Builder, x: Var, axes: tuple[int, ...], shape: tuple[int, ...]) -> Var:
    """Undo the shape of a reduction: repeat `x` along `axes` of `shape`."""
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    return b.emit(Broadcast(shape, kept), x) if axes else x


def widen(b: Builder, dx: Var, shape: tuple[int, ...]) -> Var:
    """The tangent of a result of `shape` from that of an operand of `shape` or of shape ()."""
    return dx if dx.type.shape == shape else b.emit(Broadcast(shape, ()), dx)


def narrow(b: Builder, ct: Var, x: Atom) -> Var:
    """The cotangent of operand `x`, of the result's shape or of shape (); transposes `widen`."""
    if ct.type.shape == x.type.shape:
        return ct
    return b.emit(Sum(tuple(range(ct.type.ndim))), ct)
