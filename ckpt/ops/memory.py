"""Moves between memory spaces: the two ends of an offload."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Copy, Kernel
from ckpt.ir.op import Array, Cost, Linear, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom
from ckpt.ir.types import DType, Space, Type


def _moved(x: Type) -> Cost:
    return Cost(flops=0, read_bytes=x.nbytes, written_bytes=x.nbytes)


@primitive
class ToHost(Linear):
    """Copy a value to host memory.   f32[*s] -> f32[*s]@host."""

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        (x,) = ins
        require(x.space is Space.DEVICE, self, "the operand is on the host already", x)
        return replace(x, space=Space.HOST)

    def impl(self, *ins: Array) -> Array:
        return ins[0].copy()

    def cost(self, *ins: Type) -> Cost:
        return _moved(ins[0])

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Copy()

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        return [ct and b.emit(ToDevice(), ct)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls(), (Type((3, 2), DType.F32),))
        yield Sample(cls(), (Type((), DType.F64),))


@primitive
class ToDevice(Linear):
    """Copy a value back from host memory.   f32[*s]@host -> f32[*s]."""

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        (x,) = ins
        require(x.space is Space.HOST, self, "the operand is on the device already", x)
        return replace(x, space=Space.DEVICE)

    def impl(self, *ins: Array) -> Array:
        return ins[0].copy()

    def cost(self, *ins: Type) -> Cost:
        return _moved(ins[0])

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Copy()

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        return [ct and b.emit(ToHost(), ct)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls(), (Type((3, 2), DType.F32, space=Space.HOST),))
        yield Sample(cls(), (Type((), DType.F64, space=Space.HOST),))
