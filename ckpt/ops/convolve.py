"""Two-dimensional convolution, three bilinear primitives closed under transposition.

With input x, kernel w and result y, all three are about the same sum of products

    y[n, k, i, j] += x[n, g c + p, i sh + r dh - lo, j sw + s dw - lo'] w[k, p, r, s]

`conv` gives y from x and w, `conv_input` gives x from y and w, and `conv_kernel` gives w from x
and y. Each is linear in each operand, and its transposes are the other two.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, final

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Library, Part
from ckpt.ir.op import Array, Cost, Multilinear, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom
from ckpt.ir.types import DType, Type
from ckpt.ops.convolve_blocking import TERMS, WEIGHTS, Blocking, Seen, most_parts, shares

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Shape = tuple[int, ...]
Units = tuple[int, int, int]
"""Images, channels and results that parts for threads keep together; 0: all."""


def window_count(n: int, window: int, stride: int, padding: Pair, dilation: int = 1) -> int:
    """How many places a window has along an axis of length n; below 1 it does not fit.

    >>> window_count(7, 3, 2, (1, 1))
    4
    """
    return (n + sum(padding) - dilation * (window - 1) - 1) // stride + 1


@dataclass(frozen=True, slots=True)
class _Convolution(Multilinear):
    """What the three primitives share: their parameters, their checks and their work.

    Attributes:
        stride: steps between neighbouring windows, down and across.
        padding: zeros before and after each image axis: ((top, bottom), (left, right)).
        dilation: steps between neighbouring places of a window.
        groups: the channels of x and of y are cut into this many parts that do not mix.
    """

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    @abstractmethod
    def shapes(self, a: Type, b: Type) -> tuple[Shape, Shape, Shape]:
        """The shapes of x, w and y for operands of four axes."""

    @abstractmethod
    def roles(self) -> tuple[int, int, int]:
        """Which of x, w and y (0, 1, 2) both operands and the result are."""

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes two operands", *ins)
        a, b = ins
        require(a.ndim == 4 and b.ndim == 4, self, "operands must have four axes", a, b)
        require(a.dtype is b.dtype, self, "operands must have the same dtype; cast one", a, b)
        require(a.dtype.is_float, self, "operands must be floats; cast them", a, b)
        sizes = (*self.stride, *self.dilation, self.groups)
        require(min(sizes) >= 1, self, "stride, dilation and groups must be at least 1", a, b)
        lowest = min(*self.padding[0], *self.padding[1])
        require(lowest >= 0, self, "padding must not be negative; slice the input first", a, b)
        x, w, y = self.shapes(a, b)
        why = f"{x[1]} input channels are not {w[1]} in each of {self.groups} groups"
        require(x[1] == self.groups * w[1], self, why, a, b)
        why = f"{w[0]} result channels do not divide into {self.groups} groups"
        require(w[0] % self.groups == 0, self, why, a, b)
        require(min(w[2:]) >= 1, self, "the kernel has an empty window", a, b)
        size = self._size(x, w)
        why = f"a window of {w[2]} by {w[3]} does not fit a padded image of {x[2]} by {x[3]}"
        require(min(size) >= 1, self, why, a, b)
        why = f"x {x}, w {w} and y {y} do not belong together; y should be {x[0], w[0], *size}"
        require(y == (x[0], w[0], *size), self, why, a, b)
        return a.reshaped((x, w, y)[self.roles()[2]])

    def cost(self, *ins: Type) -> Cost:
        out = self.type(*ins)
        flops = self._flops(*self.shapes(*ins)[1:])
        scratch = self.lower(*ins).scratch_bytes
        return Cost(flops, ins[0].nbytes + ins[1].nbytes, out.nbytes, scratch)

    @abstractmethod
    def cut(self, dtype: DType, x: Shape, w: Shape, y: Shape) -> tuple[Blocking, int, Units]:
        """Blocks of the kernel, its bytes of scratch, and what parts for threads keep together."""

    def lower(self, *ins: Type) -> Library:
        x, w, y = shapes = self.shapes(*ins)
        blocking, scratch_bytes, units = self.cut(ins[0].dtype, x, w, y)
        low = (self.padding[0][0], self.padding[1][0])
        between = prod(shapes[self.roles()[2]][1:])

        def params(groups: int) -> tuple[Any, ...]:
            how = self.stride, low, self.dilation
            return *how, groups, between, blocking.numbers

        parts: list[Part] = []
        array_bytes = sum(map(prod, shapes)) * ins[0].dtype.itemsize
        most = most_parts(self._flops(w, y), array_bytes, scratch_bytes)
        for share in shares(most, x, w, self.groups, units):
            pieces = share.pieces(x, w, y)
            parts.append(Part(tuple(pieces[i] for i in self.roles()), params(share.groups)))
        if len(parts) == 1:
            return Library(self.name, params(self.groups), scratch_bytes)
        scratch_bytes *= len(parts)
        return Library(self.name, params(self.groups), scratch_bytes, tuple(parts))

    def _seen(self, w: Shape, y: Shape) -> tuple[Seen, Seen]:
        """How places of y see images, down and across."""
        down, across = (
            Seen(y[2 + i], self.stride[i], (w[2 + i] - 1) * self.dilation[i], w[2 + i])
            for i in (0, 1)
        )
        return down, across

    def _flops(self, w: Shape, y: Shape) -> float:
        return 2.0 * prod(y) * prod(w[1:])

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return frozenset({0}), frozenset({1})

    def _size(self, x: Shape, w: Shape) -> Pair:
        """Height and width of y."""
        high, wide = (
            window_count(x[2 + i], w[2 + i], self.stride[i], self.padding[i], self.dilation[i])
            for i in (0, 1)
        )
        return high, wide

    def _same(self) -> tuple[Pair, Padding, Pair, int]:
        return self.stride, self.padding, self.dilation, self.groups

    def _cuts(self, w: Shape, y: Shape) -> Iterator[tuple[Any, Any]]:
        """For each place of a window: its index in w, and what it meets of a padded image."""
        (sh, sw), (dh, dw) = self.stride, self.dilation
        for r in range(w[2]):
            rows = slice(r * dh, r * dh + (y[2] - 1) * sh + 1, sh)
            for s in range(w[3]):
                columns = slice(s * dw, s * dw + (y[3] - 1) * sw + 1, sw)
                yield (..., r, s), (..., rows, columns)

    def _padded(self, x: Array) -> Array:
        return np.pad(x, ((0, 0), (0, 0), *self.padding))

    def _images(self, a: Array) -> Array:
        """`[n,c,h,w] -> [n,groups,c/groups,h w]`."""
        n, channels, high, wide = a.shape
        return a.reshape(n, self.groups, channels // self.groups, high * wide)

    def _kernels(self, w: Array) -> Array:
        """`[k,c/groups,r,s] -> [groups,k/groups,c/groups,r,s]`."""
        return w.reshape(self.groups, w.shape[0] // self.groups, *w.shape[1:])


@final
@primitive
class Conv(_Convolution):
    """Correlate images with kernels: `f32[n,c,h,w], f32[k,c/groups,r,s] -> f32[n,k,i,j]`.

    This is what deep learning calls convolution: the kernel is not flipped.
    """

    def shapes(self, a: Type, b: Type) -> tuple[Shape, Shape, Shape]:
        return a.shape, b.shape, (a.shape[0], b.shape[0], *self._size(a.shape, b.shape))

    def roles(self) -> tuple[int, int, int]:
        return 0, 1, 2

    def cut(self, dtype: DType, x: Shape, w: Shape, y: Shape) -> tuple[Blocking, int, Units]:
        axes = self._seen(w, y)
        how = Blocking.of(dtype, (x[0], w[1], w[0] // self.groups), axes, TERMS)
        nbytes = how.scratch_bytes(dtype, axes, weights=False)
        return how, nbytes, (how.images, 0, how.panel_bytes // dtype.itemsize)

    def impl(self, *ins: Array) -> Array:
        x, w = ins
        y = (x.shape[0], w.shape[0], *self._size(x.shape, w.shape))
        image, kernel = self._padded(x), self._kernels(w)
        out = np.zeros((y[0], self.groups, y[1] // self.groups, y[2] * y[3]), x.dtype)
        for place, cut in self._cuts(w.shape, y):
            out += kernel[place] @ self._images(image[cut])
        return out.reshape(y)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,), (x, w) = cts, ins
        assert ct is not None
        if x.type.linear:
            return b.emit(ConvInput(*self._same(), _last(x)), ct, w), None
        return None, b.emit(ConvKernel(*self._same(), _last(w)), x, ct)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for params, x, w in _CASES:
            for dtype in (DType.F32, DType.F64):
                yield Sample(cls(*params), (Type(x, dtype), Type(w, dtype)))


@final
@primitive
class ConvInput(_Convolution):
    """Spread results back over images: `f32[n,k,i,j], f32[k,c/groups,r,s] -> f32[n,c,h,w]`.

    The transpose of `conv` in its input, also known as transposed convolution.

    Attributes:
        image: height and width of the result, which those of operand 0 do not determine.
    """

    image: Pair

    def shapes(self, a: Type, b: Type) -> tuple[Shape, Shape, Shape]:
        return (a.shape[0], self.groups * b.shape[1], *self.image), b.shape, a.shape

    def roles(self) -> tuple[int, int, int]:
        return 2, 1, 0

    def cut(self, dtype: DType, x: Shape, w: Shape, y: Shape) -> tuple[Blocking, int, Units]:
        del y
        # of one phase, if there are strides
        far = [(w[2 + i] - 1) * self.dilation[i] // self.stride[i] for i in (0, 1)]
        high, wide = (-(-x[2 + i] // self.stride[i]) for i in (0, 1))
        axes = (Seen(high, 1, far[0], w[2]), Seen(wide, 1, far[1], w[3]))
        how = Blocking.of(dtype, (x[0], w[0] // self.groups, w[1]), axes, TERMS)
        nbytes = how.scratch_bytes(dtype, axes, weights=False)
        return how, nbytes, (how.images, how.panel_bytes // dtype.itemsize, 0)

    def impl(self, *ins: Array) -> Array:
        y, w = ins
        (top, bottom), (left, right) = self.padding
        high, wide = self.image
        channels = self.groups * w.shape[1]
        out = np.zeros((len(y), channels, top + high + bottom, left + wide + right), y.dtype)
        kernel = self._kernels(w).swapaxes(1, 2)
        back = self._images(y)
        for place, cut in self._cuts(w.shape, y.shape):
            out[cut] += (kernel[place] @ back).reshape(out[cut].shape)
        return np.ascontiguousarray(out[:, :, top : top + high, left : left + wide])

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,), (y, w) = cts, ins
        assert ct is not None
        if y.type.linear:
            return b.emit(Conv(*self._same()), ct, w), None
        return None, b.emit(ConvKernel(*self._same(), _last(w)), ct, y)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for params, x, w in _CASES:
            for dtype in (DType.F32, DType.F64):
                y = Conv(*params).type(Type(x, dtype), Type(w, dtype))
                yield Sample(cls(*params, (x[2], x[3])), (y, Type(w, dtype)))


@final
@primitive
class ConvKernel(_Convolution):
    """Correlate images with results: `f32[n,c,h,w], f32[n,k,i,j] -> f32[k,c/groups,r,s]`.

    The transpose of `conv` in its kernel.

    Attributes:
        window: height and width of the kernel, which the operands do not determine.
    """

    window: Pair

    def shapes(self, a: Type, b: Type) -> tuple[Shape, Shape, Shape]:
        return a.shape, (b.shape[1], a.shape[1] // self.groups, *self.window), b.shape

    def roles(self) -> tuple[int, int, int]:
        return 0, 2, 1

    def cut(self, dtype: DType, x: Shape, w: Shape, y: Shape) -> tuple[Blocking, int, Units]:
        axes = self._seen(w, y)
        channels = w[1] if prod(w[1:]) <= TERMS // 2 else -(-w[1] // 2)
        how = Blocking.of(dtype, (x[0], channels, w[0] // self.groups), axes, WEIGHTS)
        nbytes = how.scratch_bytes(dtype, axes, weights=True)
        return how, nbytes, (0, how.channels, how.panel_bytes // dtype.itemsize)

    def impl(self, *ins: Array) -> Array:
        x, y = ins
        w = (y.shape[1], x.shape[1] // self.groups, *self.window)
        out = np.zeros((self.groups, w[0] // self.groups, *w[1:]), x.dtype)
        image, back = self._padded(x), self._images(y)
        for place, cut in self._cuts(w, y.shape):
            out[place] = (back @ self._images(image[cut]).swapaxes(2, 3)).sum(0)
        return out.reshape(w)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,), (x, y) = cts, ins
        assert ct is not None
        if x.type.linear:
            return b.emit(ConvInput(*self._same(), _last(x)), y, ct), None
        return None, b.emit(Conv(*self._same()), x, ct)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for params, x, w in _CASES:
            for dtype in (DType.F32, DType.F64):
                y = Conv(*params).type(Type(x, dtype), Type(w, dtype))
                yield Sample(cls(*params, (w[2], w[3])), (Type(x, dtype), y))


def _last(x: Atom) -> Pair:
    """Height and width of an operand of four axes."""
    _, _, high, wide = x.type.shape
    return high, wide


_Case = tuple[tuple[Pair, Padding, Pair, int], Shape, Shape]
_NONE: Padding = ((0, 0), (0, 0))
_CASES: tuple[_Case, ...] = (
    (((1, 1), _NONE, (1, 1), 1), (2, 3, 5, 6), (4, 3, 3, 2)),
    (((1, 1), ((1, 1), (1, 1)), (1, 1), 1), (2, 2, 4, 4), (3, 2, 3, 3)),
    (((1, 1), _NONE, (1, 1), 1), (2, 3, 4, 3), (2, 3, 1, 1)),
    (((2, 3), ((1, 0), (0, 2)), (1, 1), 1), (1, 2, 6, 7), (2, 2, 3, 2)),
    (((1, 2), ((2, 1), (0, 3)), (2, 3), 1), (2, 2, 6, 7), (2, 2, 2, 3)),
    (((1, 1), ((0, 1), (1, 0)), (1, 1), 2), (2, 4, 4, 5), (6, 2, 2, 2)),
    (((2, 1), ((1, 1), (1, 1)), (1, 1), 3), (2, 3, 5, 4), (3, 1, 3, 3)),  # depthwise
    (((3, 3), ((4, 3), (3, 4)), (1, 1), 1), (1, 1, 2, 2), (1, 1, 2, 2)),  # windows of zeros only
    (((1, 1), _NONE, (1, 1), 1), (0, 2, 4, 4), (3, 2, 2, 2)),
    (((1, 1), _NONE, (1, 1), 1), (2, 0, 4, 4), (3, 0, 2, 2)),
)
