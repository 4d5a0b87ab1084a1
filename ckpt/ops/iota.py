"""Counting along an axis: where index arrays, masks and linspaces begin."""

from collections.abc import Iterable

import numpy as np

from ckpt.ir.kernel import Kernel, Library
from ckpt.ir.op import Array, Constant, Cost, Sample, primitive, require
from ckpt.ir.types import DType, Type


@primitive
class Iota(Constant):
    """The index along an axis at every place.   () -> i64[*shape].

    Attributes:
        shape: the result's shape.
        axis: the axis along which to count.
        dtype: any dtype but bool.
    """

    shape: tuple[int, ...]
    axis: int
    dtype: DType

    def type(self, *ins: Type) -> Type:
        require(not ins, self, "takes no operands", *ins)
        require(0 <= self.axis < len(self.shape), self, f"{self.shape} has no such axis", *ins)
        require(self.dtype is not DType.BOOL, self, "a bool cannot count", *ins)
        return Type(self.shape, self.dtype)

    def impl(self, *ins: Array) -> Array:
        del ins
        ones = [1] * len(self.shape)
        ones[self.axis] = self.shape[self.axis]
        count = np.arange(self.shape[self.axis], dtype=self.dtype.wide.numpy).reshape(ones)
        return np.broadcast_to(count.astype(self.dtype.numpy), self.shape)

    def cost(self, *ins: Type) -> Cost:
        return Cost(0, 0, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("iota", (self.axis,))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((5,), 0, DType.I64), ())
        yield Sample(cls((2, 3, 2), 1, DType.I32), ())
        yield Sample(cls((2, 3), 1, DType.F32), ())
        yield Sample(cls((2, 3), 0, DType.F64), ())
        yield Sample(cls((2, 0), 0, DType.I64), ())
