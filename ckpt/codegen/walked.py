"""Where an operand, a result or a copy starts, and how it is walked through."""

from dataclasses import dataclass, replace

from ckpt.codegen.record import Address
from ckpt.ir.kernel import Axes
from ckpt.ir.layout import Layout
from ckpt.ir.types import DType, Type


@dataclass(frozen=True, slots=True)
class Walked:
    """An operand, result or packed copy: where it starts and how it is walked through."""

    address: Address
    dtype: DType
    strides: tuple[int, ...]

    def along(self, axes: Axes, rank: int) -> "Walked":
        """The same array in a loop of that rank: each of its axes is walked by one, or by none."""
        strides = [0] * rank
        for axis, stride in zip(axes, self.strides, strict=True):
            if axis >= 0:
                strides[axis] = stride
        return Walked(self.address, self.dtype, tuple(strides))

    def at(self, start: Axes, by: Axes, shape: Axes) -> "Walked":
        """The same array from the element on that an index of a loop reads, rolled."""
        steps = [(i - k) % n * s for i, k, n, s in zip(start, by, shape, self.strides, strict=True)]
        return self.further(sum(steps))

    def further(self, elements: int) -> "Walked":
        """The same array from so many elements further on."""
        offset = self.address.offset + elements * self.dtype.itemsize
        return replace(self, address=replace(self.address, offset=offset))


def operand(number: int, t: Type, layout: Layout) -> Walked:
    """An operand of a let, as it lies in its root."""
    offset = layout.offset * t.dtype.itemsize
    return Walked(Address("in", number, offset), t.dtype, layout.strides)


def result(t: Type, place: Address | None = None) -> Walked:
    """A contiguous array: the first result of a let, or what stands elsewhere."""
    strides = Layout.contiguous(t.shape).strides
    return Walked(place or Address("out", 0), t.dtype, strides)
