"""A sum with a value that is padded: what the cotangents of slices add up to."""

from collections.abc import Iterable, Sequence

from ckpt.ir import kernel
from ckpt.ir.build import Builder
from ckpt.ir.kernel import Kernel
from ckpt.ir.op import Array, Cost, Multilinear, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom
from ckpt.ir.types import DType, Type
from ckpt.ops.shape import Pad

Ints = tuple[int, ...]


@primitive
class AddPadded(Multilinear):
    """`y + pad x`, without the zeros.   a[*t], a[*s] -> a[*t].

    In the memory of `y` it touches only the elements that `x` adds to.

    Attributes:
        low, high, interior: the widths, as of `pad`.
    """

    low: Ints
    high: Ints
    interior: Ints

    @property
    def pad(self) -> Pad:
        """What it does to its second operand first."""
        return Pad(self.low, self.high, self.interior)

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes two operands", *ins)
        require(ins[0].dtype is not DType.BOOL, self, "bools have no sum", *ins)
        require(ins[0] == self.pad.type(ins[1]), self, "is of two different sizes", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        out = ins[0].copy()
        spans = zip(self.low, ins[1].shape, self.interior, strict=True)
        out[tuple(slice(low, low + (n - 1) * (k + 1) + 1, k + 1) for low, n, k in spans)] += ins[1]
        return out

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[1].size, 2 * ins[1].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return kernel.Window(self.low, tuple(k + 1 for k in self.interior), add=True)

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (0,)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return (frozenset({0, 1}),)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        return [cts[0], *self.pad.transpose(b, cts, ins[1:])]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F64, DType.F32, DType.I64):
            types = Type((3, 5), dtype), Type((2, 3), dtype)
            yield Sample(cls((1, 0), (0, 2), (0, 0)), types)
        spread = Type((8, 7), DType.F64), Type((2, 3), DType.F64)
        yield Sample(cls((1, 2), (3, 0), (2, 1)), spread)
