"""The primitives of the linear type system itself, and identities that only carry a meaning."""

from collections.abc import Iterable, Sequence

import numpy as np

from ckpt.ir import kernel
from ckpt.ir.build import Builder
from ckpt.ir.kernel import Kernel, Map, NoKernel
from ckpt.ir.layout import Layout
from ckpt.ir.op import Array, Cost, Linear, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type

_FREE = Cost(0, 0, 0)
_KINDS = ("save", "recompute")


def _identity_samples(op: Op) -> Iterable[Sample]:
    for shape in ((2, 3), (), (0, 3)):
        yield Sample(op, (Type(shape, DType.F64),))
    for dtype in (DType.F32, DType.I64, DType.BOOL):
        yield Sample(op, (Type((3,), dtype),))


@primitive
class Zero(Op):
    """The linear zero of a type.   () -> lin f32[*s];  transposes to a drop."""

    of: Type

    def type(self, *ins: Type) -> Type:
        require(not ins, self, "takes no operands", *ins)
        require(self.of.has_tangent, self, f"{self.of} has no tangents", *ins)
        return self.of.tangent()

    def impl(self, *ins: Array) -> Array:
        del ins
        return np.zeros(self.of.shape, self.of.dtype.numpy)

    def cost(self, *ins: Type) -> Cost:
        del ins
        return Cost(0, 0, self.of.nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Map("zero")

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        del ins, dins
        return [b.emit(self)], [None]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del b, cts, ins  # a program drops what it does not use
        return []

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shape in ((2, 3), (), (0, 3)):
            yield Sample(cls(Type(shape, DType.F64)), ())
        yield Sample(cls(Type((3,), DType.F32)), ())


@primitive
class Dup(Linear):
    """One value under two names.   a[*s] -> a[*s], a[*s];  transposes to an addition."""

    def type(self, *ins: Type) -> tuple[Type, ...]:
        require(len(ins) == 1, self, "takes one operand", *ins)
        return ins[0], ins[0]

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        return ins[0], ins[0]

    def cost(self, *ins: Type) -> Cost:
        del ins
        return _FREE

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return NoKernel("both results are views of the operand")

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        return [b.sum_of(cts[0], cts[1])]

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        del ins
        return layouts[0]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _identity_samples(cls())


@primitive
class Drop(Linear):
    """Consume a value that nobody reads.   a[*s] -> ();  transposes to zero."""

    def type(self, *ins: Type) -> tuple[Type, ...]:
        require(len(ins) == 1, self, "takes one operand", *ins)
        return ()

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        del ins
        return ()

    def cost(self, *ins: Type) -> Cost:
        del ins
        return _FREE

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return NoKernel("nothing is computed")

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del b, cts, ins
        return [None]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _identity_samples(cls())


@primitive
class Mark(Linear):
    """An identity that pins the choice for its operand.   a[*s] -> a[*s], always a view.

    Tangents and cotangents pass by unmarked: a choice is about primal values.

    Attributes:
        kind: "save" (never recompute the value) or "recompute" (never keep it).
        label: the user's name for the value, for reports.
    """

    kind: str
    label: str

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(self.kind in _KINDS, self, f"kind is {self.kind!r}, not one of {_KINDS}", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        return ins[0]

    def cost(self, *ins: Type) -> Cost:
        del ins
        return _FREE

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return NoKernel("the result is a view of the operand")

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        return [b.emit(self, *ins)], dins

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del b, ins
        return cts

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        del ins
        return layouts[0]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield from _identity_samples(cls("save", "h"))
        yield Sample(cls("recompute", ""), (Type((2,), DType.F64),))


@primitive
class Copy(Linear):
    """The same elements in memory of their own.   a[*s] -> a[*s], never a view."""

    numpy = "copy"

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        return np.array(ins[0], order="C")

    def cost(self, *ins: Type) -> Cost:
        return Cost(0, ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return kernel.Copy()

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        return [b.emit(self, *ins)], dins

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del b, ins
        return cts

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return _identity_samples(cls())
