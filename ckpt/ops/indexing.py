"""Reading and writing by index arrays: gathers and scatters along one axis.

An index is i32 or i64. A negative one counts from the end. One that is out of bounds raises
IndexError in the interpreter, as in NumPy; a compiled kernel raises nothing, so there it is
clamped to the nearest place, and an axis of length 0 yields zeros and takes nothing.

Several index arrays for several axes are one index array for those axes made one by a reshape:
`i * n + j`, each first through `wrap_index`, which checks it against its own length.

Where one place is written twice by `scatter_set`, the last write in row-major order of the
index stands, and the derivative is that of the last write alone. `scatter_add` adds all of them
in that order.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Kernel, Library
from ckpt.ir.op import Array, Constant, Cost, Linear, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.arithmetic import Gate
from ckpt.ops.broadcast import Broadcast


def _require_index(op: Op, axis: int, x: Type, index: Type, ins: Sequence[Type]) -> None:
    require(0 <= axis < x.ndim, op, f"has no axis {axis}", *ins)
    require(index.dtype.is_integer, op, "the index must be i32 or i64", *ins)


def _taken(axis: int, x: Type, index: Type) -> Type:
    return x.reshaped(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def _wrapped(index: Array, n: int) -> Array:
    """Indices counted from the start; raises IndexError as NumPy does."""
    if np.any((index < -n) | (index >= n)):
        bad = index[(index < -n) | (index >= n)].flat[0]
        raise IndexError(f"index {bad} is out of bounds for axis with size {n}")
    return np.where(index < 0, index + n, index).astype(np.int64)


def _last_writes(index: Array, n: int) -> Array:
    backwards = _wrapped(index, n).reshape(-1)[::-1]
    _, first = np.unique(backwards, return_index=True)
    last = np.zeros(index.size, np.bool_)
    last[index.size - 1 - first] = True
    return last.reshape(index.shape)


_SETTINGS = (  # axis, array, index
    (0, (4, 3), (5,)),
    (1, (2, 4, 3), (2, 3)),
    (0, (4,), ()),
    (1, (2, 4), (3,)),
    (0, (4, 3), (0,)),
    (1, (0, 4), (3,)),
)


def _settings(dtypes: Sequence[DType]) -> Iterable[tuple[int, Type, Type, int]]:
    """Axis, array, index and the length of the indexed axis."""
    for axis, shape, index in _SETTINGS:
        yield axis, Type(shape, DType.F64), Type(index, DType.I64), shape[axis]
    for dtype in dtypes:
        yield 0, Type((4, 3), dtype), Type((5,), DType.I32), 4


_REST = (DType.F32, DType.I64, DType.I32)


@primitive
class WrapIndex(Constant):
    """An index counted from the start of an axis.   i32[*s] -> i64[*s].

    Attributes:
        n: the length of the axis.
    """

    n: int

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(ins[0].dtype.is_integer, self, "the index must be i32 or i64", *ins)
        return ins[0].cast(DType.I64)

    def impl(self, *ins: Array) -> Array:
        return _wrapped(ins[0], self.n)

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, self.type(*ins).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("wrap_index", (self.n,))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls(4), (Type((2, 5), DType.I64),), -4, 3)
        yield Sample(cls(4), (Type((5,), DType.I32),), -4, 3)
        yield Sample(cls(4), (Type((), DType.I64),), -4, 3)
        yield Sample(cls(0), (Type((0,), DType.I64),))


@primitive
class LastWrite(Constant):
    """Whether no later index names the same place.   i32[*s] -> bool[*s].

    Attributes:
        n: the length of the axis that is written to.
    """

    n: int

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(ins[0].dtype.is_integer, self, "the index must be i32 or i64", *ins)
        return ins[0].cast(DType.BOOL)

    def impl(self, *ins: Array) -> Array:
        return _last_writes(ins[0], self.n)

    def cost(self, *ins: Type) -> Cost:
        return Cost(ins[0].size, ins[0].nbytes, self.type(*ins).nbytes, max(self.n, 1))

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("last_write", (self.n,), max(self.n, 1))  # one byte per place

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls(4), (Type((3, 5), DType.I64),), -4, 3)
        yield Sample(cls(9), (Type((5,), DType.I32),), -9, 8)
        yield Sample(cls(4), (Type((), DType.I64),), -4, 3)
        yield Sample(cls(0), (Type((0,), DType.I64),))


@primitive
class Take(Linear):
    """Read an axis at indices.   a[*s,n,*t], i32[*i] -> a[*s,*i,*t];  linear in the array."""

    axis: int

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes an array and an index", *ins)
        x, index = ins
        _require_index(self, self.axis, x, index, ins)
        return _taken(self.axis, x, index)

    def impl(self, *ins: Array) -> Array:
        x, index = ins
        return np.asarray(np.take(x, _wrapped(index, x.shape[self.axis]), self.axis))

    def cost(self, *ins: Type) -> Cost:
        nbytes = self.type(*ins).nbytes
        return Cost(0, nbytes + ins[1].nbytes, nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("take", (self.axis,), moves=True)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        x, index = ins
        if ct is None:
            return [None, None]
        return [b.emit(ScatterAdd(self.axis), b.zero(x.type), ct, index), None]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for axis, x, index, n in _settings((*_REST, DType.BOOL)):
            yield Sample(cls(axis), (x, index), limits=((1, n),))


class _Adds(Op):
    """Adding at indices, whatever the indices mean: operands are the array, what, and where."""

    __slots__ = ()

    @abstractmethod
    def reads(self) -> Op:
        """The op that reads what this one adds to: the transpose in the second operand."""

    def cost(self, *ins: Type) -> Cost:
        """Of adding in place: what no index names is neither read nor written."""
        _, u, index = ins
        return Cost(u.size, 2 * u.nbytes + index.nbytes, u.nbytes)

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
        (x, _, index), (dx, du, _) = ins, dins
        if du is None:
            return [out], [dx]
        return [out], [b.emit(self, dx or b.zero(x.type), du, index)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        if ct is None:
            return [None, None, None]
        return [ct, b.emit(self.reads(), ct, ins[2]), None]


@primitive
class ScatterAdd(_Adds):
    """Add at indices of an axis.   a[*s,n,*t], a[*s,*i,*t], i32[*i] -> a[*s,n,*t].

    Operands are the array, what to add, and the index. Linear in the first two together.
    """

    axis: int

    def type(self, *ins: Type) -> Type:
        return _scattered(self, self.axis, ins)

    def impl(self, *ins: Array) -> Array:
        x, u, index = ins
        out = np.array(x, order="C")
        places = tuple(range(self.axis, self.axis + index.ndim))
        rows = np.moveaxis(u, places, range(index.ndim))
        np.add.at(np.moveaxis(out, self.axis, 0), _wrapped(index, x.shape[self.axis]), rows)
        return out

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("scatter_add", (self.axis,))

    def reads(self) -> Op:
        return Take(self.axis)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for axis, x, index, n in _settings(_REST):
            u = _taken(axis, x, index)
            yield Sample(cls(axis), (x, u, index), -3, 3, limits=((2, n),))


@primitive
class ScatterSet(Op):
    """Write at indices of an axis.   a[*s,n,*t], a[*s,*i,*t], i32[*i] -> a[*s,n,*t].

    Operands are the array, what to write, and the index; the last write to a place stands.
    Linear in the first two together.
    """

    axis: int

    def type(self, *ins: Type) -> Type:
        return _scattered(self, self.axis, ins)

    def impl(self, *ins: Array) -> Array:
        x, u, index = ins
        n = x.shape[self.axis]
        last = _last_writes(index, n)
        places = tuple(range(self.axis, self.axis + index.ndim))
        rows = np.moveaxis(u, places, range(index.ndim))
        out = np.array(x, order="C")
        np.moveaxis(out, self.axis, 0)[_wrapped(index, n)[last]] = rows[last]
        return out

    def cost(self, *ins: Type) -> Cost:
        x, u, index = ins
        return Cost(0, x.nbytes + u.nbytes + index.nbytes, x.nbytes + u.nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("scatter_set", (self.axis,), moves=True)

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
        (x, u, index), (dx, du, _) = ins, dins
        if dx is None and du is None:
            return [out], [None]
        return [out], [b.emit(self, dx or b.zero(x.type), du or b.zero(u.type), index)]

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        x, u, index = ins
        if ct is None:
            return [None, None, None]
        last = b.emit(LastWrite(x.type.shape[self.axis]), index)
        axes = tuple(range(self.axis, self.axis + index.type.ndim))
        mask = b.emit(Broadcast(u.type.shape, axes), last) if axes else last
        back = b.emit(Gate(), b.emit(Take(self.axis), ct, index), mask)
        return [b.emit(self, ct, b.zero(u.type), index), back, None]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for axis, x, index, n in _settings((*_REST, DType.BOOL)):
            u = _taken(axis, x, index)
            yield Sample(cls(axis), (x, u, index), -3, 3, limits=((2, n),))


def _scattered(op: Op, axis: int, ins: Sequence[Type]) -> Type:
    require(len(ins) == 3, op, "takes an array, what to write and an index", *ins)
    x, u, index = ins
    _require_index(op, axis, x, index, ins)
    require(u == _taken(axis, x, index), op, f"writes {_taken(axis, x, index)}", *ins)
    require(x.dtype is not DType.BOOL or isinstance(op, ScatterSet), op, "bools do not add", *ins)
    return x


_ALONG = (  # axis, array, index
    (0, (4, 3), (5, 3)),
    (1, (2, 4, 3), (2, 2, 3)),
    (2, (2, 3, 4), (2, 3, 1)),
    (0, (4,), (0,)),
    (1, (0, 4), (0, 3)),
)


def _along(dtypes: Sequence[DType]) -> Iterable[tuple[int, Type, Type, int]]:
    for axis, shape, index in _ALONG:
        yield axis, Type(shape, DType.F64), Type(index, DType.I64), shape[axis]
    for dtype in dtypes:
        yield 0, Type((4, 3), dtype), Type((5, 3), DType.I32), 4


def _lines(op: Op, axis: int, x: Type, index: Type, ins: Sequence[Type]) -> Type:
    _require_index(op, axis, x, index, ins)
    both = zip(x.shape, index.shape, strict=False)
    same = x.ndim == index.ndim and all(m == n for i, (m, n) in enumerate(both) if i != axis)
    require(same, op, f"lengths may differ along axis {axis} only", *ins)
    return x.reshaped(index.shape)


def _line_key(axis: int, x: Array, index: Array) -> tuple[Array, ...]:
    key = list(np.indices(index.shape, sparse=True))
    key[axis] = _wrapped(index, x.shape[axis])
    return tuple(key)


@primitive
class TakeAlongAxis(Linear):
    """Read each line along an axis at its own indices.   a[*s,n,*t], i32[*s,m,*t] -> a[*s,m,*t].

    Linear in the array.
    """

    axis: int

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 2, self, "takes an array and an index", *ins)
        x, index = ins
        return _lines(self, self.axis, x, index, ins)

    def impl(self, *ins: Array) -> Array:
        x, index = ins
        return np.asarray(x[_line_key(self.axis, x, index)])

    def cost(self, *ins: Type) -> Cost:
        nbytes = self.type(*ins).nbytes
        return Cost(0, nbytes + ins[1].nbytes, nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("take_along_axis", (self.axis,), moves=True)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        (ct,) = cts
        x, index = ins
        if ct is None:
            return [None, None]
        return [b.emit(ScatterAddAlongAxis(self.axis), b.zero(x.type), ct, index), None]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for axis, x, index, n in _along((*_REST, DType.BOOL)):
            yield Sample(cls(axis), (x, index), limits=((1, n),))


@primitive
class ScatterAddAlongAxis(_Adds):
    """Add to each line along an axis at its own indices.

    a[*s,n,*t], a[*s,m,*t], i32[*s,m,*t] -> a[*s,n,*t];  operands are the array, what to add, and
    the index. Linear in the first two together.
    """

    axis: int

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 3, self, "takes an array, what to add and an index", *ins)
        x, u, index = ins
        fits = _lines(self, self.axis, x, index, ins)
        require(u == fits, self, f"adds {fits}", *ins)
        require(x.dtype is not DType.BOOL, self, "bools do not add", *ins)
        return x

    def impl(self, *ins: Array) -> Array:
        x, u, index = ins
        out = np.array(x, order="C")
        np.add.at(out, _line_key(self.axis, x, index), u)
        return out

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return Library("scatter_add_along_axis", (self.axis,))

    def reads(self) -> Op:
        return TakeAlongAxis(self.axis)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for axis, x, index, n in _along(_REST):
            u = x.reshaped(index.shape)
            yield Sample(cls(axis), (x, u, index), -3, 3, limits=((2, n),))
