"""The same elements in another arrangement, fewer of them, or zeros between them."""

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from ckpt.ir import kernel
from ckpt.ir.build import Builder
from ckpt.ir.kernel import Kernel
from ckpt.ir.layout import Layout
from ckpt.ir.op import Array, Cost, Linear, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom
from ckpt.ir.types import DType, Type
from ckpt.ops.view import View

Ints = tuple[int, ...]


@primitive
class Reshape(Linear):
    """The same elements in row-major order in another shape.   a[*s] -> a[*shape].

    A view when strides can express it, a copy otherwise.
    """

    shape: Ints

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(min(self.shape, default=0) >= 0, self, f"bad shape {self.shape}", *ins)
        require(prod(self.shape) == ins[0].size, self, f"no {self.shape} of so many", *ins)
        return ins[0].reshaped(self.shape)

    def impl(self, *ins: Array) -> Array:
        return ins[0].reshape(self.shape)

    def cost(self, *ins: Type) -> Cost:
        return Cost(0, ins[0].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return kernel.Copy()

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        return [None if ct is None else b.emit(Reshape(ins[0].type.shape), ct)]

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        strides = _reshaped_strides(ins[0].shape, layouts[0].strides, self.shape)
        return None if strides is None else Layout(layouts[0].offset, strides)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((3, 2)), (Type((2, 3), DType.F64),))
        yield Sample(cls((6,)), (Type((2, 3), DType.F32),))
        yield Sample(cls((2, 1, 3, 1)), (Type((2, 3), DType.F64),))
        yield Sample(cls(()), (Type((1, 1), DType.F64),))
        yield Sample(cls((1,)), (Type((), DType.F64),))
        yield Sample(cls((5, 0)), (Type((0, 3), DType.F64),))
        yield Sample(cls((4, 3)), (Type((2, 2, 3), DType.I64),))
        yield Sample(cls((2, 6)), (Type((2, 2, 3), DType.BOOL),))


@primitive
class Permute(View):
    """Reorder axes.   a[*s] -> a[s[axes[0]], s[axes[1]], ...], always a view."""

    axes: Ints

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        each_once = sorted(self.axes) == list(range(ins[0].ndim))
        require(each_once, self, f"axes {self.axes} must hold each axis once", *ins)
        return ins[0].reshaped(tuple(ins[0].shape[i] for i in self.axes))

    def impl(self, *ins: Array) -> Array:
        return np.transpose(ins[0], self.axes)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        back = tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__))
        return [None if ct is None else b.emit(Permute(back), ct)]

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        del ins
        return Layout(layouts[0].offset, tuple(layouts[0].strides[i] for i in self.axes))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((1, 0)), (Type((2, 3), DType.F64),))
        yield Sample(cls((2, 0, 1)), (Type((2, 3, 4), DType.F64),))
        yield Sample(cls(()), (Type((), DType.F32),))
        yield Sample(cls((1, 0)), (Type((0, 3), DType.F64),))
        yield Sample(cls((0, 2, 1)), (Type((2, 3, 4), DType.I32),))


@primitive
class Flip(View):
    """Reverse axes.   a[*s] -> a[*s], always a view."""

    axes: Ints

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        inside = all(0 <= i < ins[0].ndim for i in self.axes)
        once = len(set(self.axes)) == len(self.axes)
        require(inside and once, self, f"axes {self.axes} must be distinct axes", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        return np.flip(ins[0], self.axes)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        return [None if ct is None else b.emit(self, ct)]

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        offset, strides = layouts[0].offset, list(layouts[0].strides)
        for i in self.axes:
            offset += strides[i] * max(ins[0].shape[i] - 1, 0)
            strides[i] = -strides[i]
        return Layout(offset, tuple(strides))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((0,)), (Type((2, 3), DType.F64),))
        yield Sample(cls((0, 2)), (Type((2, 3, 4), DType.F32),))
        yield Sample(cls(()), (Type((), DType.F64),))
        yield Sample(cls((0, 1)), (Type((0, 3), DType.F64),))
        yield Sample(cls((1,)), (Type((2, 3), DType.I64),))


@primitive
class Slice(View):
    """Every step-th element from start to stop, per axis.   a[*s] -> a[*t], always a view."""

    start: Ints
    stop: Ints
    step: Ints

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        (x,) = ins
        bounds = (self.start, self.stop, self.step)
        require(all(len(t) == x.ndim for t in bounds), self, "a bound per axis is needed", *ins)
        inside = all(
            0 <= i <= j <= n for i, j, n in zip(self.start, self.stop, x.shape, strict=True)
        )
        require(inside, self, "0 <= start <= stop <= length must hold", *ins)
        require(min(self.step, default=1) > 0, self, "steps must be positive", *ins)
        return x.reshaped(tuple(-(-(j - i) // k) for i, j, k in zip(*bounds, strict=True)))

    def impl(self, *ins: Array) -> Array:
        return ins[0][tuple(map(slice, self.start, self.stop, self.step))]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        if ct is None:
            return [None]
        high = tuple(
            n - i - (1 + (m - 1) * k if m else 0)
            for n, i, m, k in zip(
                ins[0].type.shape, self.start, ct.type.shape, self.step, strict=True
            )
        )
        return [b.emit(Pad(self.start, high, tuple(k - 1 for k in self.step)), ct)]

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        del ins
        strides = layouts[0].strides
        offset = layouts[0].offset + sum(i * s for i, s in zip(self.start, strides, strict=True))
        return Layout(offset, tuple(s * k for s, k in zip(strides, self.step, strict=True)))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((0, 1), (2, 3), (1, 1)), (Type((2, 3), DType.F64),))
        yield Sample(cls((1, 0), (6, 5), (2, 3)), (Type((6, 5), DType.F64),))
        yield Sample(cls((2, 0), (2, 3), (1, 2)), (Type((2, 3), DType.F64),))
        yield Sample(cls((), (), ()), (Type((), DType.F64),))
        yield Sample(cls((0, 0), (0, 3), (1, 2)), (Type((0, 3), DType.F32),))
        yield Sample(cls((1,), (4,), (2,)), (Type((4,), DType.I64),))
        yield Sample(cls((3,), (4,), (1,)), (Type((4,), DType.BOOL),))


@primitive
class Pad(Linear):
    """Zeros around and between the elements, per axis.   a[*s] -> a[*t];  transposes to a slice.

    Attributes:
        low: zeros before the first element of each axis.
        high: zeros after the last one.
        interior: zeros between neighbours.
    """

    low: Ints
    high: Ints
    interior: Ints

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        (x,) = ins
        widths = (self.low, self.high, self.interior)
        require(all(len(t) == x.ndim for t in widths), self, "a width per axis is needed", *ins)
        require(all(k >= 0 for t in widths for k in t), self, "widths are never negative", *ins)
        spans = zip(*widths, self._span(x.shape), strict=True)
        return x.reshaped(tuple(low + span + high for low, high, _, span in spans))

    def _span(self, shape: Ints) -> Ints:
        return tuple(n + max(n - 1, 0) * k for n, k in zip(shape, self.interior, strict=True))

    def _window(self) -> tuple[Ints, Ints]:
        return self.low, tuple(k + 1 for k in self.interior)

    def impl(self, *ins: Array) -> Array:
        t = self.type(Type(ins[0].shape, DType.of(ins[0].dtype)))
        out = np.zeros(t.shape, ins[0].dtype)
        spans = zip(self.low, self._span(ins[0].shape), self.interior, strict=True)
        out[tuple(slice(low, low + span, k + 1) for low, span, k in spans)] = ins[0]
        return out

    def cost(self, *ins: Type) -> Cost:
        return Cost(0, ins[0].nbytes, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        if not ins[0].shape:
            return kernel.Copy()
        return kernel.Window(*window_in(self.type(*ins).shape, *self._window()), add=False)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        if ct is None:
            return [None]
        span = self._span(ins[0].type.shape)
        stop = tuple(low + n for low, n in zip(self.low, span, strict=True))
        start, step = self._window()
        return [b.emit(Slice(start, stop, step), ct)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls((1, 0), (0, 2), (0, 0)), (Type((2, 3), DType.F64),))
        yield Sample(cls((1, 2), (3, 0), (2, 1)), (Type((2, 3), DType.F64),))
        yield Sample(cls((), (), ()), (Type((), DType.F64),))
        yield Sample(cls((1, 0), (1, 0), (2, 1)), (Type((0, 3), DType.F32),))
        yield Sample(cls((1,), (1,), (0,)), (Type((3,), DType.I64),))
        yield Sample(cls((1,), (1,), (0,)), (Type((3,), DType.BOOL),))


def window_in(shape: Ints, start: Ints, step: Ints) -> tuple[int, Ints]:
    """Offset and strides, in elements, of every step-th element of a contiguous array."""
    strides = Layout.contiguous(shape).strides
    offset = sum(i * s for i, s in zip(start, strides, strict=True))
    return offset, tuple(k * s for k, s in zip(step, strides, strict=True))


def _reshaped_strides(shape: Ints, strides: Ints, new: Ints) -> Ints | None:
    """Strides of the same elements in the shape `new`, or None when no strides give them.

    Both shapes are cut into groups of axes that hold equally many elements; a group of old axes
    must be one run, each axis stepping over exactly the next one.
    """
    if 0 in shape:
        return Layout.contiguous(new).strides
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    out: list[int] = []
    i = j = 0
    while j < len(new):
        if new[j] == 1:
            out.append(0)
            j += 1
            continue
        n_old, first = old[i][0], i
        n_new, first_new = new[j], j
        while n_old != n_new:
            if n_old < n_new:
                i += 1
                n_old *= old[i][0]
            else:
                j += 1
                n_new *= new[j]
        for k in range(first, i):
            if old[k][1] != old[k + 1][0] * old[k + 1][1]:
                return None
        step = old[i][1]
        group: list[int] = []
        for n in reversed(new[first_new : j + 1]):
            group.append(step)
            step *= n
        out.extend(reversed(group))
        i, j = i + 1, j + 1
    return tuple(out)
