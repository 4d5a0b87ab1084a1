"""Sorting, by the indices that sort: the values follow by `take_along_axis`."""

from collections.abc import Iterable

import numpy as np

from ckpt.ir.kernel import Kernel, Library
from ckpt.ir.op import Array, Constant, Cost, Sample, primitive, require
from ckpt.ir.types import DType, Type
from ckpt.ops.elementwise import ALL


@primitive
class Argsort(Constant):
    """The indices that sort an axis in rising order.   a[*s] -> i64[*s];  stable, NaN last."""

    axis: int

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(0 <= self.axis < ins[0].ndim, self, f"has no axis {self.axis}", *ins)
        return ins[0].cast(DType.I64)

    def impl(self, *ins: Array) -> Array:
        return np.argsort(ins[0], axis=self.axis, kind="stable")

    def cost(self, *ins: Type) -> Cost:
        (x,) = ins
        n = x.shape[self.axis]
        comparisons = x.size * max(n - 1, 0).bit_length()
        return Cost(comparisons, x.nbytes, self.type(x).nbytes, self._scratch(x))

    def _scratch(self, x: Type) -> int:
        return 2 * DType.I64.itemsize * max(x.shape[self.axis], 1)  # two lines of indices

    def lower(self, *ins: Type) -> Kernel:
        return Library("argsort", (self.axis,), self._scratch(ins[0]))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for axis in (0, 1, 2):
            yield Sample(cls(axis), (Type((2, 7, 3), DType.F64),))
        for dtype in ALL:
            yield Sample(cls(0), (Type((9,), dtype),), -3, 3)
        yield Sample(cls(1), (Type((0, 3), DType.F64),))
        yield Sample(cls(0), (Type((0, 3), DType.F64),))
