"""Stopping derivatives: an identity whose tangent is zero."""

from collections.abc import Iterable, Sequence

from ckpt.ir.kernel import Kernel, NoKernel
from ckpt.ir.layout import Layout
from ckpt.ir.op import Array, Constant, Cost, Sample, primitive, require
from ckpt.ir.types import DType, Type


@primitive
class StopGradient(Constant):
    """The same value, held constant by derivatives.   a[*s] -> a[*s], always a view."""

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        return ins[0]

    def cost(self, *ins: Type) -> Cost:
        del ins
        return Cost(0, 0, 0)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return NoKernel("the result is a view of the operand")

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        del ins
        return layouts[0]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls(), (Type((2, 3), DType.F64),))
        yield Sample(cls(), (Type((), DType.F32),))
        yield Sample(cls(), (Type((0, 3), DType.F64),))
        yield Sample(cls(), (Type((4,), DType.I64),))
