"""What all elementwise primitives share: types, cost, kernels and samples.

The IR is strict. Operands of one op have the same dtype (the frontend inserts casts), and each
has either the shape of the result or shape (): nothing else broadcasts. The kernel of an
elementwise op is `Map` with the op's own name as its code.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from ckpt.ir.build import lit
from ckpt.ir.kernel import Kernel, Map
from ckpt.ir.op import Array, Cost, Op, Sample, require
from ckpt.ir.program import Atom, Lit
from ckpt.ir.types import DType, Type

# The first dtype of each is the one that samples cover in every shape.
FLOATS = (DType.F64, DType.F32)
INTEGERS = (DType.I64, DType.I32)
NUMBERS = FLOATS + INTEGERS
BITS = (*INTEGERS, DType.BOOL)
BOOLS = (DType.BOOL,)
ALL = (*NUMBERS, DType.BOOL)

SHAPES: dict[int, tuple[tuple[tuple[int, ...], ...], ...]] = {
    1: (((2, 3),), ((),), ((0, 3),)),
    2: (((2, 3), (2, 3)), ((2, 3), ()), ((), (2, 3)), ((), ()), ((0, 3), (0, 3))),
    3: (
        ((2, 3), (2, 3), (2, 3)),
        ((2, 3), (), (2, 3)),
        ((2, 3), (2, 3), ()),
        ((), (2, 3), (2, 3)),
        ((), (), (2, 3)),
        ((2, 3), (), ()),
        ((), (), ()),
        ((0, 3), (0, 3), ()),
    ),
}
"""Operand shapes of samples, by the number of operands."""

FLOPS: dict[str, float] = {
    **dict.fromkeys(("div", "sqrt", "reciprocal", "remainder", "floor_divide"), 5.0),
    **dict.fromkeys(("exp", "exp2"), 45.0),
    **dict.fromkeys(("expm1", "tanh", "cosh", "arcsin", "arccos", "arctan"), 50.0),
    "log": 60.0,
    **dict.fromkeys(("log2", "log10", "log1p", "sin", "cos", "tan", "sinh"), 70.0),
    **dict.fromkeys(("erf", "arctan2", "arctanh"), 90.0),
    **dict.fromkeys(("arcsinh", "arccosh"), 110.0),
    "erfc": 140.0,
    "pow": 300.0,
}
"""Flops per element where it is not one: seconds that our kernels were measured to take per
element, times the rate of dense products on the same processor (`python -m
experiments.mathematics_benchmark`; the mean of f32 and f64)."""


class Elementwise(Op):
    """An op that works on each index by itself; its meaning is the ufunc that `numpy` names.

    Attributes:
        accepts: operand dtypes; with f32 also the halves, which are worked on in it.
        arity: number of operands.
        returns: the result's dtype; None when it is the operands'.
        domain: the range in which samples are drawn.
    """

    __slots__ = ()

    accepts: ClassVar[tuple[DType, ...]] = FLOATS
    arity: ClassVar[int] = 1
    returns: ClassVar[DType | None] = None
    domain: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def type(self, *ins: Type) -> Type:
        require(len(ins) == self.arity, self, f"takes {self.arity} operands", *ins)
        dtype = ins[0].dtype
        require(all(t.dtype is dtype for t in ins), self, "operand dtypes differ", *ins)
        known = ", ".join(t.value for t in DType if t.wide in self.accepts)
        require(dtype.wide in self.accepts, self, f"operands must be one of {known}", *ins)
        return Type(common_shape(self, ins), self.returns or dtype)

    def impl(self, *ins: Array) -> Array:
        assert self.numpy is not None
        return np.asarray(getattr(np, self.numpy)(*ins))

    def cost(self, *ins: Type) -> Cost:
        out = self.result(ins)
        flops = FLOPS.get(self.name, 1.0) * out.size
        return Cost(flops, sum(t.nbytes for t in ins), out.nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Map(self.name)

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        out = self.result(ins)
        size = out.dtype.itemsize
        return tuple(
            i for i, t in enumerate(ins) if t.shape == out.shape and t.dtype.itemsize == size
        )

    def result(self, ins: Sequence[Type]) -> Type:
        """The one result type."""
        out = self.type(*ins)
        assert isinstance(out, Type)
        return out

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return elementwise_samples(cls(), cls.accepts)


def elementwise_samples(op: Elementwise, dtypes: Sequence[DType]) -> Iterable[Sample]:
    """Every combination of shapes for the first dtype, and the first combination for all."""
    for dtype in dtypes:
        shapes = SHAPES[op.arity]
        for combination in shapes if dtype is dtypes[0] else shapes[:1]:
            yield Sample(op, tuple(Type(s, dtype) for s in combination), *op.domain)


def common_shape(op: Op, ins: Sequence[Type]) -> tuple[int, ...]:
    """The one shape that is not (), among operands of which each has it or is a scalar."""
    shapes = {t.shape for t in ins if t.shape}
    require(len(shapes) <= 1, op, "operand shapes differ, and are not scalars", *ins)
    return next(iter(shapes), ())


def like(x: Atom, value: float) -> Lit:
    """A literal of the dtype of `x`."""
    return lit(value, x.type.dtype)
