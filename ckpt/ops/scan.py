"""Running totals along an axis: sums, products, and first-order linear recurrences."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Kernel, Library
from ckpt.ir.op import Array, Cost, Linear, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Lit, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.arithmetic import Mul
from ckpt.ops.broadcast import Broadcast
from ckpt.ops.elementwise import NUMBERS
from ckpt.ops.pieces import Concatenate
from ckpt.ops.shape import Slice


def before(b: Builder, x: Var, first: Lit, axis: int, *, reverse: bool) -> Var:
    """The element before each one along an axis, and `first` before the first one.

    With `reverse` the element after each one.
    """
    n = x.type.shape[axis]
    if n == 0:
        return x
    start, stop = [0] * x.type.ndim, list(x.type.shape)
    if reverse:
        start[axis] = 1
    else:
        stop[axis] = n - 1
    rest = b.emit(Slice(tuple(start), tuple(stop), (1,) * x.type.ndim), x)
    edge = b.emit(Broadcast((*stop[:axis], 1, *stop[axis + 1 :]), ()), first)
    return b.emit(Concatenate(axis), *((rest, edge) if reverse else (edge, rest)))


def _type(op: Op, axis: int, ins: Sequence[Type], n_ins: int) -> Type:
    require(len(ins) == n_ins, op, f"takes {n_ins} operands", *ins)
    require(all(t == ins[0] for t in ins), op, "operand types differ", *ins)
    require(0 <= axis < ins[0].ndim, op, f"has no axis {axis}", *ins)
    require(ins[0].dtype is not DType.BOOL, op, "cast the bools first", *ins)
    return ins[0]


def _samples(make: Callable[[int, bool], Op], n_ins: int) -> Iterable[Sample]:
    for axis in (0, 1, 2):
        yield Sample(make(axis, axis == 1), (Type((2, 3, 4), DType.F64),) * n_ins)
    for dtype in NUMBERS:
        yield Sample(make(0, True), (Type((4,), dtype),) * n_ins, -3, 3)
    yield Sample(make(0, False), (Type((0, 3), DType.F64),) * n_ins)
    yield Sample(make(1, False), (Type((0, 3), DType.F64),) * n_ins)


def _ordered(x: Array, axis: int, reverse: bool) -> Array:
    """The array with the axis first, in the order of the scan."""
    moved = np.moveaxis(x, axis, 0)
    return moved[::-1] if reverse else moved


@primitive
class Cumsum(Linear):
    """Sums of all elements up to each one along an axis.   a[*s] -> a[*s].

    Attributes:
        axis: the axis to run along.
        reverse: from each element to the last, instead.
    """

    axis: int
    reverse: bool = False

    def type(self, *ins: Type) -> Type:
        return _type(self, self.axis, ins, 1)

    def impl(self, *ins: Array) -> Array:
        out = np.empty(ins[0].shape, ins[0].dtype)
        rows = _ordered(ins[0], self.axis, self.reverse)
        _ordered(out, self.axis, self.reverse)[...] = np.cumsum(rows, 0, ins[0].dtype)
        return out

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("cumsum", (self.axis, self.reverse))

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (0,)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        return [None if ct is None else b.emit(Cumsum(self.axis, not self.reverse), ct)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _samples(cls, 1)


@primitive
class Recurrence(Linear):
    """`h[i] = u[i] + a[i] * h[i-1]` along an axis, from zero.   f32[*s], f32[*s] -> f32[*s].

    Linear in `u`; its derivative in `a` and its transpose are recurrences again.

    Attributes:
        axis: the axis to run along.
        reverse: run from the last element to the first, instead.
    """

    axis: int
    reverse: bool = False

    def type(self, *ins: Type) -> Type:
        return _type(self, self.axis, ins, 2)

    def impl(self, *ins: Array) -> Array:
        out = np.empty(ins[0].shape, ins[0].dtype)
        u, a, h = (_ordered(x, self.axis, self.reverse) for x in (*ins, out))
        for i in range(len(u)):
            h[i] = u[i] + a[i] * h[i - 1] if i else u[i]
        return out

    def cost(self, *ins: Type) -> Cost:
        return Cost(2 * ins[0].size, 2 * ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("recurrence", (self.axis, self.reverse))

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (_, a), (du, da) = ins, dins
        h = b.emit(self, *ins)
        total = du
        if da is not None:
            zero = Lit(0.0, h.type.dtype)
            last = before(b, h, zero, self.axis, reverse=self.reverse)
            total = b.sum_of(du, b.emit(Mul(), last, da))
        return [h], [None if total is None else b.emit(self, total, a)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        a = ins[1]
        if ct is None:
            return [None, None]
        assert isinstance(a, Var)
        zero = Lit(0.0, a.type.dtype)
        shifted = before(b, a, zero, self.axis, reverse=not self.reverse)
        return [b.emit(Recurrence(self.axis, not self.reverse), ct, shifted), None]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _samples(cls, 2)


@primitive
class Cumprod(Op):
    """Products of all elements up to each one along an axis.   a[*s] -> a[*s].

    Its tangent is a recurrence, which is right where elements are zero.

    Attributes:
        axis: the axis to run along.
        reverse: from each element to the last, instead.
    """

    axis: int
    reverse: bool = False

    def type(self, *ins: Type) -> Type:
        return _type(self, self.axis, ins, 1)

    def impl(self, *ins: Array) -> Array:
        out = np.empty(ins[0].shape, ins[0].dtype)
        rows = _ordered(ins[0], self.axis, self.reverse)
        _ordered(out, self.axis, self.reverse)[...] = np.cumprod(rows, 0, ins[0].dtype)
        return out

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("cumprod", (self.axis, self.reverse))

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (0,)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (x,), (dx,) = ins, dins
        y = b.emit(self, x)
        if dx is None:
            return [y], [None]
        last = before(b, y, Lit(1.0, y.type.dtype), self.axis, reverse=self.reverse)
        fresh = b.emit(Mul(), last, dx)
        return [y], [b.emit(Recurrence(self.axis, self.reverse), fresh, x)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _samples(cls, 1)
