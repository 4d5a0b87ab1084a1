"""Arithmetic that is linear: what tangents and cotangents are made of."""

from collections.abc import Iterable, Sequence

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.op import Array, Linear, Multilinear, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.broadcast import narrow, widen
from ckpt.ops.elementwise import (
    ALL,
    NUMBERS,
    Elementwise,
    common_shape,
    elementwise_samples,
)
from ckpt.ops.logic import LogicalNot

_BOTH = (frozenset({0, 1}),)
_EACH = (frozenset({0}), frozenset({1}))


@primitive
class Neg(Linear, Elementwise):
    """Negation.   f32[*s] -> f32[*s]."""

    numpy = "negative"
    accepts = NUMBERS

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        return [None if ct is None else b.emit(Neg(), ct)]


@primitive
class Add(Elementwise):
    """Addition.   f32[*s], f32[*s] -> f32[*s];  transposes to a dup."""

    numpy = "add"
    accepts = NUMBERS
    arity = 2

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return _BOTH

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        y = b.emit(self, *ins)
        total = b.sum_of(*dins)
        return [y], [None if total is None else widen(b, total, y.type.shape)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        return [None if ct is None else narrow(b, ct, x) for x in ins]


@primitive
class Sub(Elementwise):
    """Subtraction.   f32[*s], f32[*s] -> f32[*s]."""

    numpy = "subtract"
    accepts = NUMBERS
    arity = 2

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return _BOTH

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        out = b.emit(self, *ins)
        dx, dy = dins
        if dx is not None and dy is not None:
            total = b.emit(self, dx, dy)
        else:
            total = dx if dy is None else b.emit(Neg(), dy)
        return [out], [None if total is None else widen(b, total, out.type.shape)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        if ct is None:
            return [None, None]
        return [narrow(b, ct, ins[0]), b.emit(Neg(), narrow(b, ct, ins[1]))]


@primitive
class Mul(Multilinear, Elementwise):
    """Multiplication.   f32[*s], f32[*s] -> f32[*s];  linear in each operand."""

    numpy = "multiply"
    accepts = NUMBERS
    arity = 2

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return _EACH

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        x, y = ins
        if ct is None:
            return [None, None]
        if x.type.linear:
            return [narrow(b, b.emit(self, ct, y), x), None]
        return [None, narrow(b, b.emit(self, x, ct), y)]


@primitive
class Div(Elementwise):
    """True division.   f32[*s], f32[*s] -> f32[*s];  linear in the numerator."""

    numpy = "divide"
    arity = 2
    domain = (0.5, 2.0)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return _EACH[:1]

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        x, y = ins
        dx, dy = dins
        out = b.emit(self, x, y)
        # (dx - out dy) / y: the residuals are the result and the denominator, nothing else.
        above = dx
        if dy is not None:
            moved = b.emit(Mul(), out, dy)
            above = b.emit(Neg(), moved) if dx is None else b.emit(Sub(), dx, moved)
        return [out], [None if above is None else b.emit(self, above, y)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        x, y = ins
        return [None if ct is None else narrow(b, b.emit(self, ct, y), x), None]


@primitive
class Cast(Elementwise):
    """Convert elements to another dtype.   a[*s] -> dtype[*s];  linear between floats.

    Attributes:
        dtype: the result's dtype; to bool, whether an element differs from zero.
    """

    dtype: DType

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        return ins[0].cast(self.dtype)

    def impl(self, *ins: Array) -> Array:
        return ins[0].astype(self.dtype.wide.numpy).astype(self.dtype.numpy)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return _EACH[:1] if self.dtype.is_float else ()

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (dx,) = dins
        out = b.emit(self, *ins)
        return [out], [b.emit(self, dx) if dx is not None and self.dtype.is_float else None]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        return [None if ct is None else b.emit(Cast(ins[0].type.dtype), ct)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shape in ((2, 3), (), (0, 3)):
            yield Sample(cls(DType.F32), (Type(shape, DType.F64),))
        for before in ALL:
            for after in ALL:
                yield Sample(cls(after), (Type((3,), before),), -3, 3)


@primitive
class Gate(Linear, Elementwise):
    """A value where a mask is true, zero elsewhere.   f32[*s], bool[*s] -> f32[*s].

    Linear in the value; the mask, one byte per element, is all that it keeps. Unlike a product
    with 0 and 1 it stops infinities and NaNs.
    """

    accepts = NUMBERS
    arity = 2

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes a value and a mask", *ins)
        x, mask = ins
        require(mask.dtype is DType.BOOL, self, "the mask must be bool", *ins)
        require(x.dtype.wide in self.accepts, self, "the value must be a number", *ins)
        return Type(common_shape(self, ins), x.dtype)

    def impl(self, *ins: Array) -> Array:
        x, mask = ins
        return np.where(mask, x, x.dtype.type(0))

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        x, mask = ins
        return [None if ct is None else narrow(b, b.emit(self, ct, mask), x), None]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for s in elementwise_samples(cls(), cls.accepts):
            yield Sample(s.op, (s.ins[0], s.ins[1].cast(DType.BOOL)))


@primitive
class Where(Elementwise):
    """Choose by a mask.   bool[*s], a[*s], a[*s] -> a[*s];  linear in both choices together."""

    numpy = "where"
    accepts = ALL
    arity = 3

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 3, self, "takes a mask and two choices", *ins)
        mask, x, y = ins
        require(mask.dtype is DType.BOOL, self, "the mask must be bool", *ins)
        require(x.dtype is y.dtype, self, "the dtypes of the choices differ", *ins)
        return Type(common_shape(self, ins), x.dtype)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return (frozenset({1, 2}),)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        out = b.emit(self, *ins)
        mask, dx, dy = ins[0], dins[1], dins[2]
        if dx is not None and dy is not None:
            total = b.emit(self, mask, dx, dy)
        elif dx is not None:
            total = b.emit(Gate(), dx, mask)
        elif dy is not None:
            total = b.emit(Gate(), dy, b.emit(LogicalNot(), mask))
        else:
            return [out], [None]
        return [out], [widen(b, total, out.type.shape)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        mask, x, y = ins
        if ct is None:
            return [None, None, None]
        other = b.emit(LogicalNot(), mask)
        return [
            None,
            narrow(b, b.emit(Gate(), ct, mask), x),
            narrow(b, b.emit(Gate(), ct, other), y),
        ]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for s in elementwise_samples(cls(), cls.accepts):
            mask, x, y = s.ins
            yield Sample(s.op, (mask.cast(DType.BOOL), x, y))
