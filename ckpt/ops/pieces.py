"""Arrays made of others: one after another, or with a slice replaced."""

from collections.abc import Iterable, Sequence

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Concat, Kernel, Library
from ckpt.ir.op import Array, Cost, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.shape import Pad, Slice, window_in

Ints = tuple[int, ...]


@primitive
class UpdateSlice(Op):
    """A copy with a slice replaced.   a[*s], a[*t] -> a[*s];  linear in both together.

    Attributes:
        start: where the second operand begins, per axis.
        step: the distance of its elements, per axis.
    """

    start: Ints
    step: Ints

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes an array and what to put into it", *ins)
        x, u = ins
        require(x.ndim > 0, self, "a scalar has no slices", *ins)
        require(x.dtype is u.dtype, self, "operand dtypes differ", *ins)
        same = x.ndim == u.ndim == len(self.start) == len(self.step)
        require(same, self, "a start, a step and a length per axis are needed", *ins)
        require(min(self.step) > 0, self, "steps must be positive", *ins)
        ends = zip(self.start, self._stop(u.shape), x.shape, strict=True)
        require(all(0 <= i <= j <= n for i, j, n in ends), self, "the slice leaves it", *ins)
        return x

    def _stop(self, shape: Ints) -> Ints:
        places = zip(self.start, shape, self.step, strict=True)
        return tuple(i + (1 + (n - 1) * k if n else 0) for i, n, k in places)

    def impl(self, *ins: Array) -> Array:
        x, u = ins
        out = np.array(x, order="C")
        out[tuple(map(slice, self.start, self._stop(u.shape), self.step))] = u
        return out

    def cost(self, *ins: Type) -> Cost:
        return Cost(0, ins[0].nbytes + ins[1].nbytes, ins[0].nbytes)

    def lower(self, *ins: Type) -> Kernel:
        return Library("update_slice", window_in(ins[0].shape, self.start, self.step), moves=True)

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (0,)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return (frozenset({0, 1}),)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        out = b.emit(self, *ins)
        dx, du = dins
        if dx is not None:
            return [out], [b.emit(self, dx, du or b.zero(ins[1].type))]
        if du is None:
            return [out], [None]
        x, u = ins[0].type, ins[1].type
        high = tuple(n - j for n, j in zip(x.shape, self._stop(u.shape), strict=True))
        return [out], [b.emit(Pad(self.start, high, tuple(k - 1 for k in self.step)), du)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        u = ins[1].type
        if ct is None:
            return [None, None]
        back = b.emit(Slice(self.start, self._stop(u.shape), self.step), ct)
        return [b.emit(self, ct, b.zero(u)), back]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F64, DType.F32, DType.I64, DType.BOOL):
            yield Sample(cls((1, 0), (1, 2)), (Type((3, 4), dtype), Type((2, 2), dtype)))
        yield Sample(cls((3,), (1,)), (Type((3,), DType.F64), Type((0,), DType.F64)))
        yield Sample(cls((0, 0), (1, 1)), (Type((0, 3), DType.F64), Type((0, 2), DType.F64)))
        yield Sample(cls((0,), (1,)), (Type((3,), DType.F64), Type((3,), DType.F64)))


@primitive
class Concatenate(Op):
    """Operands one after another along an axis.   a[m,*s], a[n,*s] -> a[m+n,*s].

    Any number of operands, at least one; linear in all of them together.
    """

    axis: int

    def type(self, *ins: Type) -> Type:
        require(len(ins) > 0, self, "needs an operand", *ins)
        require(0 <= self.axis < ins[0].ndim, self, f"has no axis {self.axis}", *ins)
        require(len({t.dtype for t in ins}) == 1, self, "operand dtypes differ", *ins)
        others = {t.shape[: self.axis] + t.shape[self.axis + 1 :] for t in ins}
        same = len(others) == 1 and len({t.ndim for t in ins}) == 1
        require(same, self, f"lengths may differ along axis {self.axis} only", *ins)
        return ins[0].reshaped(self._resized(ins[0], sum(t.shape[self.axis] for t in ins)))

    def _resized(self, x: Type, n: int) -> Ints:
        return (*x.shape[: self.axis], n, *x.shape[self.axis + 1 :])

    def impl(self, *ins: Array) -> Array:
        return np.concatenate(ins, axis=self.axis)

    def cost(self, *ins: Type) -> Cost:
        nbytes = sum(t.nbytes for t in ins)
        return Cost(0, nbytes, nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Concat(self.axis)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(n_ins)),)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        """Zero tangents at either end become padding; zeros are written only in between."""
        out = b.emit(self, *ins)
        active = [i for i, dx in enumerate(dins) if dx is not None]
        if not active:
            return [out], [None]
        first, last = active[0], active[-1] + 1
        parts = [
            dx or b.zero(x.type) for x, dx in zip(ins[first:last], dins[first:last], strict=True)
        ]
        dout = b.emit(self, *parts) if len(parts) > 1 else parts[0]
        if last - first < len(ins):
            none = (0,) * out.type.ndim
            widths = [sum(x.type.shape[self.axis] for x in xs) for xs in (ins[:first], ins[last:])]
            low, high = ((*none[: self.axis], n, *none[self.axis + 1 :]) for n in widths)
            dout = b.emit(Pad(low, high, none), dout)
        return [out], [dout]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        if ct is None:
            return [None] * len(ins)
        back: list[Var] = []
        start, step = [0] * ct.type.ndim, (1,) * ct.type.ndim
        for x in ins:
            stop = list(ct.type.shape)
            stop[self.axis] = start[self.axis] + x.type.shape[self.axis]
            back.append(b.emit(Slice(tuple(start), tuple(stop), step), ct))
            start[self.axis] = stop[self.axis]
        return back

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F64, DType.F32, DType.I64, DType.BOOL):
            yield Sample(cls(0), (Type((2, 3), dtype), Type((1, 3), dtype)))
        three = tuple(Type((2, n, 2), DType.F64) for n in (1, 3, 2))
        yield Sample(cls(1), three)
        yield Sample(cls(1), (Type((2, 3), DType.F64),))
        yield Sample(cls(0), (Type((0, 3), DType.F64), Type((2, 3), DType.F64)))
