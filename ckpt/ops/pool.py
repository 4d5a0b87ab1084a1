"""Pooling over windows of images `[n,c,h,w]`: maxima, and sums from which averages are made.

The gradient of a maximum flows to the element that is the maximum: `max_pool_index` says which,
`pool_gather` and `pool_scatter` read and write there. Windows may reach into the padding, which
holds nothing: it never is a maximum and adds nothing to a sum.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Library
from ckpt.ir.op import (
    Array,
    Constant,
    Cost,
    Linear,
    Op,
    Sample,
    Tangents,
    primitive,
    require,
)
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.convolve import Padding, Pair, window_count
from ckpt.ops.row_parts import row_parts


@dataclass(frozen=True, slots=True)
class _Pool(Op):
    """What ops over windows of images share.

    Attributes:
        window: height and width of a window.
        stride: steps between neighbouring windows, down and across.
        padding: places before and after each image axis: ((top, bottom), (left, right)).
    """

    window: Pair
    stride: Pair
    padding: Padding

    @abstractmethod
    def type(self, *ins: Type) -> Type: ...

    def pooled(self, x: Type) -> Type:
        """The type of one value per window of x."""
        require(x.ndim == 4, self, "takes images of four axes", x)
        require(x.dtype is not DType.BOOL, self, "takes numbers; cast the operand", x)
        low, sizes = min(*self.padding[0], *self.padding[1]), (*self.window, *self.stride)
        require(min(sizes) >= 1, self, "window and stride must be at least 1", x)
        require(low >= 0, self, "padding must not be negative; slice the input first", x)
        fits = all(max(p) < n for p, n in zip(self.padding, self.window, strict=True))
        require(fits, self, "padding must be less than the window, or a window is empty", x)
        require(min(x.shape[2:]) >= 1, self, "images are empty", x)
        high, wide = (
            window_count(x.shape[2 + i], self.window[i], self.stride[i], self.padding[i])
            for i in (0, 1)
        )
        require(min(high, wide) >= 1, self, f"a window of {self.window} does not fit", x)
        return x.reshaped((*x.shape[:2], high, wide))

    def cost(self, *ins: Type) -> Cost:
        out = self.type(*ins)
        places = min(out.size, ins[0].size) * self.window[0] * self.window[1]
        return Cost(float(places), sum(t.nbytes for t in ins), out.nbytes)

    def lower(self, *ins: Type) -> Library:
        kernel = Library(self.name, (self.window, self.stride, self._low()))
        return row_parts(kernel, ins, [self.type(*ins)])

    def _by_maximum(self, x: Type, scratch_bytes: int) -> Library:
        """A kernel that compares elements, from the lowest of their dtype on."""
        lowest = -np.inf if x.dtype.is_float else np.iinfo(x.dtype.numpy).min
        params = (self.window, self.stride, self._low(), lowest)
        return row_parts(Library(self.name, params, scratch_bytes), [x], [self.type(x)])

    def _low(self) -> Pair:
        return self.padding[0][0], self.padding[1][0]

    def _same(self) -> tuple[Pair, Pair, Padding]:
        return self.window, self.stride, self.padding

    def _padded(self, x: Array) -> Array:
        return np.pad(x, ((0, 0), (0, 0), *self.padding))

    def _cuts(self, out: Sequence[int]) -> Iterator[Any]:
        """For each place of a window, what it meets of a padded image."""
        (r_count, s_count), (down, across) = self.window, self.stride
        for r in range(r_count):
            rows = slice(r, r + (out[2] - 1) * down + 1, down)
            for s in range(s_count):
                yield ..., rows, slice(s, s + (out[3] - 1) * across + 1, across)

    def _positions(self, x: Array) -> Array:
        """Where the first maximum of each window is, counted along rows of an unpadded image."""
        shape = self.pooled(Type(x.shape, DType.of(x.dtype))).shape
        image, inside = self._padded(x), self._padded(np.ones_like(x, np.bool_))
        numbers = np.arange(x.shape[2] * x.shape[3]).reshape(1, 1, *x.shape[2:])
        places = self._padded(numbers)
        best = np.zeros(shape, x.dtype)
        found, seen = np.zeros(shape, np.int32), np.zeros(shape, np.bool_)
        for cut in self._cuts(shape):
            value = image[cut]
            # once a NaN is the best, nothing is greater and no other NaN comes first
            better = (value > best) | (np.isnan(value) & ~np.isnan(best)) | ~seen
            better &= inside[cut]
            best = np.where(better, value, best)
            found = np.where(better, places[cut].astype(np.int32), found)
            seen |= inside[cut]
        return found


@final
@primitive
class MaxPool(_Pool):
    """The greatest element of each window: `f32[n,c,h,w] -> f32[n,c,i,j]`; NaN wins."""

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        return self.pooled(ins[0])

    def impl(self, *ins: Array) -> Array:
        (x,) = ins
        return _gathered(x, self._positions(x))

    def lower(self, *ins: Type) -> Library:
        return self._by_maximum(ins[0], 0)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (x,), (dx,) = ins, dins
        assert dx is not None
        index = b.emit(MaxPoolIndex(*self._same()), x)
        return [b.emit(PoolGather(), x, index)], [b.emit(PoolGather(), dx, index)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for window in _WINDOWS:
            for dtype in (DType.F32, DType.F64):
                yield Sample(cls(*window), (Type((2, 2, 5, 6), dtype),), spread=True)
        yield Sample(cls(*_WINDOWS[1]), (Type((0, 2, 5, 6), DType.F32),), spread=True)
        yield Sample(cls(*_WINDOWS[2]), (Type((1, 1, 5, 6), DType.I32),), low=-9, high=9)


@final
@primitive
class MaxPoolIndex(Constant, _Pool):
    """Where the first maximum of each window is: `f32[n,c,h,w] -> i32[n,c,i,j]`.

    Positions count along the rows of an image; the first NaN of a window is its maximum.
    """

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        out = self.pooled(ins[0]).cast(DType.I32)
        fits = ins[0].shape[2] * ins[0].shape[3] < 2**31
        require(fits, self, "positions in an image must fit 32 bits", *ins)
        return out

    def impl(self, *ins: Array) -> Array:
        return self._positions(ins[0])

    def cost(self, *ins: Type) -> Cost:
        out = self.type(*ins)
        places = 2.0 * out.size * self.window[0] * self.window[1]
        return Cost(places, ins[0].nbytes, out.nbytes, self.lower(*ins).scratch_bytes)

    def lower(self, *ins: Type) -> Library:
        row = self.type(*ins).shape[3] * ins[0].dtype.itemsize
        return self._by_maximum(ins[0], row)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for window in _WINDOWS:
            for dtype in (DType.F32, DType.F64):
                yield Sample(cls(*window), (Type((2, 2, 5, 6), dtype),))
        yield Sample(cls(*_WINDOWS[2]), (Type((1, 1, 5, 6), DType.I64),), low=-2, high=2)


@final
@primitive
class PoolGather(Linear):
    """Read images at positions: `f32[n,c,h,w], i32[n,c,i,j] -> f32[n,c,i,j]`.

    Positions count along the rows of an image; one that is outside of the image reads zero.
    """

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes an image and positions", *ins)
        x, index = ins
        require(x.ndim == 4 and index.ndim == 4, self, "operands must have four axes", *ins)
        require(x.shape[:2] == index.shape[:2], self, "leading axes must agree", *ins)
        require(index.dtype is DType.I32, self, "positions must be i32", *ins)
        return x.reshaped(index.shape)

    def impl(self, *ins: Array) -> Array:
        return _gathered(*ins)

    def cost(self, *ins: Type) -> Cost:
        out = self.type(*ins)
        return Cost(0.0, out.nbytes + ins[1].nbytes, out.nbytes)

    def lower(self, *ins: Type) -> Library:
        return row_parts(Library(self.name, moves=True), ins, [self.type(*ins)])

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,), (x, index) = cts, ins
        assert ct is not None
        return b.emit(PoolScatter(_last(x)), ct, index), None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            ins = (Type((2, 3, 4, 5), dtype), Type((2, 3, 2, 3), DType.I32))
            yield Sample(cls(), ins, limits=((1, 20),))


@final
@primitive
class PoolScatter(Linear):
    """Add values into images of zeros: `f32[n,c,i,j], i32[n,c,i,j] -> f32[n,c,h,w]`.

    The transpose of `pool_gather`. Values that meet are added in the order in which they stand.

    Attributes:
        image: height and width of the result.
    """

    image: Pair

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes values and positions", *ins)
        y, index = ins
        require(y.ndim == 4, self, "operands must have four axes", *ins)
        require(y.shape == index.shape, self, "values and positions differ in shape", *ins)
        require(y.dtype is not DType.BOOL, self, "takes numbers; cast the operand", *ins)
        require(index.dtype is DType.I32, self, "positions must be i32", *ins)
        require(min(self.image) >= 0, self, "an image has a negative length", *ins)
        return y.reshaped((*y.shape[:2], *self.image))

    def impl(self, *ins: Array) -> Array:
        y, index = ins
        size = self.image[0] * self.image[1]
        n = y.shape[0] * y.shape[1]
        out = np.zeros((n, size), y.dtype)
        places = index.reshape(n, -1) if n else index.reshape(0, 0)
        image, at = np.nonzero((places >= 0) & (places < size))
        np.add.at(out, (image, places[image, at]), y.reshape(places.shape)[image, at])
        return out.reshape((*y.shape[:2], *self.image))

    def cost(self, *ins: Type) -> Cost:
        out = self.type(*ins)
        return Cost(float(ins[0].size), ins[0].nbytes + ins[1].nbytes, out.nbytes)

    def lower(self, *ins: Type) -> Library:
        return row_parts(Library(self.name, (self.image,)), ins, [self.type(*ins)])

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        assert ct is not None
        return b.emit(PoolGather(), ct, ins[1]), None

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            ins = (Type((2, 3, 2, 3), dtype), Type((2, 3, 2, 3), DType.I32))
            yield Sample(cls((4, 5)), ins, limits=((1, 20),))


@final
@primitive
class WindowSum(Linear, _Pool):
    """The sum of each window: `f32[n,c,h,w] -> f32[n,c,i,j]`."""

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        return self.pooled(ins[0])

    def impl(self, *ins: Array) -> Array:
        (x,) = ins
        image = self._padded(x)
        out = np.zeros(self.pooled(Type(x.shape, DType.of(x.dtype))).shape, x.dtype)
        for cut in self._cuts(out.shape):
            out += image[cut]
        return out

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        assert ct is not None
        return (b.emit(WindowSpread(*self._same(), _last(ins[0])), ct),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for window in _WINDOWS:
            for dtype in (DType.F32, DType.F64):
                yield Sample(cls(*window), (Type((2, 2, 5, 6), dtype),))
        yield Sample(cls(*_WINDOWS[1]), (Type((2, 0, 5, 6), DType.F32),))
        yield Sample(cls(*_WINDOWS[2]), (Type((1, 1, 5, 6), DType.I32),), low=-9, high=9)


@final
@primitive
class WindowSpread(Linear, _Pool):
    """Add each value to the places of its window: `f32[n,c,i,j] -> f32[n,c,h,w]`.

    The transpose of `window_sum`.

    Attributes:
        image: height and width of the result.
    """

    image: Pair

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        (y,) = ins
        require(y.ndim == 4, self, "takes images of four axes", y)
        x = y.reshaped((*y.shape[:2], *self.image))
        why = f"an image of {self.image} has other windows"
        require(self.pooled(x).shape == y.shape, self, why, y)
        return x

    def impl(self, *ins: Array) -> Array:
        (y,) = ins
        (top, bottom), (left, right) = self.padding
        high, wide = self.image
        out = np.zeros((*y.shape[:2], top + high + bottom, left + wide + right), y.dtype)
        for cut in self._cuts(y.shape):
            out[cut] += y
        return np.ascontiguousarray(out[:, :, top : top + high, left : left + wide])

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del ins
        (ct,) = cts
        assert ct is not None
        return (b.emit(WindowSum(*self._same()), ct),)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for window in _WINDOWS:
            for dtype in (DType.F32, DType.F64):
                y = WindowSum(*window).type(Type((2, 2, 5, 6), dtype))
                yield Sample(cls(*window, (5, 6)), (y,))


def _last(x: Atom) -> Pair:
    """Height and width of an operand of four axes."""
    _, _, high, wide = x.type.shape
    return high, wide


def _gathered(x: Array, index: Array) -> Array:
    """The elements of images at positions; zero where a position is outside."""
    n, size = x.shape[0] * x.shape[1], x.shape[2] * x.shape[3]
    flat, places = x.reshape(n, size), index.reshape(n, index.shape[2] * index.shape[3])
    inside = (places >= 0) & (places < size)
    out = np.zeros(places.shape, x.dtype)
    image, at = np.nonzero(inside)
    out[image, at] = flat[image, places[image, at]]
    return out.reshape(index.shape)


_WINDOWS: tuple[tuple[Pair, Pair, Padding], ...] = (
    ((2, 2), (2, 2), ((0, 0), (0, 0))),
    ((3, 2), (1, 1), ((1, 1), (0, 1))),  # windows overlap
    ((3, 3), (2, 2), ((1, 1), (1, 1))),
    ((1, 2), (2, 3), ((0, 0), (1, 0))),  # places between windows
    ((5, 6), (1, 1), ((0, 0), (0, 0))),  # the whole image
)
