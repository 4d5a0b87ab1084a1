"""An array moved along its axes, what leaves at one end coming back at the other."""

from collections.abc import Iterable, Sequence

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Kernel, Map
from ckpt.ir.op import Array, Cost, Linear, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom
from ckpt.ir.types import DType, Type


@primitive
class Roll(Linear):
    """Element `i` moves to `i + by`, around the end of each axis.   a[*s] -> a[*s].

    A loop that reads it reads the operand in its place (`ckpt.simplify.fuse`).

    Attributes:
        by: per axis, at least 0 and less than its length.
    """

    by: tuple[int, ...]

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        fits = len(self.by) == ins[0].ndim
        fits = fits and all(0 <= k < max(n, 1) for k, n in zip(self.by, ins[0].shape, strict=True))
        require(fits, self, f"cannot move by {self.by}", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        return rolled(ins[0], self.by)

    def cost(self, *ins: Type) -> Cost:
        return Cost(0, ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        return Map("copy", (tuple(range(ins[0].ndim)),), (self.by,))

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        back = tuple(-k % max(n, 1) for k, n in zip(self.by, ins[0].type.shape, strict=True))
        return [None if ct is None else b.emit(Roll(back), ct)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((1,)), (Type((5,), DType.F64),))
        yield Sample(cls((1, 3)), (Type((2, 4), DType.F32),))
        yield Sample(cls((2, 0, 1)), (Type((3, 1, 2), DType.F64),))
        yield Sample(cls((0, 1)), (Type((0, 3), DType.F64),))
        yield Sample(cls((4,)), (Type((5,), DType.I32),), -5, 5)
        yield Sample(cls(()), (Type((), DType.F64),))


def rolled(x: Array, by: tuple[int, ...]) -> Array:
    """An array moved along each of its axes.

    >>> rolled(np.arange(3), (1,))
    array([2, 0, 1])
    """
    return np.roll(x, by, tuple(range(x.ndim))) if any(by) else x
