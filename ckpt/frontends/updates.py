"""Functional writes: a new array that differs from another at an index."""

from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.index import Plan, Region, plan_of
from ckpt.frontends.indexing import (
    expanded,
    getitem,
    merge,
    placed_order,
    region_of,
    to_front,
)
from ckpt.frontends.joining import joined
from ckpt.frontends.lets import (
    add,
    array,
    broadcast_to,
    cast,
    cut_axis,
    emit,
    flip,
    permute,
    reshape,
)
from ckpt.frontends.lift import lift
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.ops.indexing import ScatterAdd, ScatterSet
from ckpt.ops.pieces import Pad, Slice


class At:
    """`x.at`: choose an index, then what to do there."""

    __slots__ = ("_x",)

    def __init__(self, x: Any) -> None:
        self._x = x

    def __getitem__(self, index: Any) -> "Place":
        return Place(self._x, index)


class Place:
    """`x.at[index]`: each method gives a new array, x with something done at the index."""

    __slots__ = ("_index", "_x")

    def __init__(self, x: Any, index: Any) -> None:
        self._x = x
        self._index = index

    def set(self, value: Any) -> Tracer:
        """`x[index] = value`."""
        return update(self._x, self._index, value)

    def add(self, value: Any) -> Tracer:
        """`np.add.at(x, index, value)`: a place that is named twice gets both."""
        return scatter_add(self._x, self._index, value)

    def multiply(self, value: Any) -> Tracer:
        """`x[index] *= value`: a place that is named twice keeps the last product."""
        x = array(self._x)
        product: Any = getitem(x, self._index) * value
        _require_same_kind(x, product)
        return update(x, self._index, product)


def update(x: Any, index: Any, value: Any) -> Tracer:
    """The array that `x[index] = value` would leave; values are cast as NumPy casts them."""
    x = array(x)
    plan = plan_of(index, x.shape)
    block = region_of(x, plan)
    new = _as_block(value, block, plan, ScatterSet)
    return _written(x, _whole(new, plan), plan.region)


def scatter_add(x: Any, index: Any, value: Any) -> Tracer:
    """The array that `np.add.at(x, index, value)` would leave.

    Raises:
        TypeError: the value would have to be rounded to the array's integers.
    """
    x = array(x)
    _require_same_kind(x, value)
    plan = plan_of(index, x.shape)
    region = plan.region
    block = _whole(_as_block(value, region_of(x, plan), plan, ScatterAdd), plan)
    if plan.arrays or not block.size:
        return _written(x, block, region)
    low, high, interior = _margins(region, x.shape)
    return add(x, emit(Pad(low, high, interior), block) if any((*low, *high, *interior)) else block)


def _require_same_kind(x: Tracer, value: Any) -> None:
    given = value if isinstance(value, Tracer) else np.asarray(value)
    weak = isinstance(value, (int, float)) or getattr(value, "weak", None)
    kinds = {"b": 0, "i": 1, "u": 1, "f": 2}
    mine = 2 if x.type.dtype.is_float else kinds[x.dtype.kind]
    theirs = 2 if given.dtype == DType.BF16.numpy else kinds.get(given.dtype.kind, 3)
    if theirs > mine and not (weak and mine == 2):
        raise TypeError(
            f"cannot put {given.dtype} into an array of {x.dtype} without rounding, "
            f"at {refusals.here()}\n  Convert the array with astype before."
        )


def _as_block(value: Any, block: Tracer, plan: Plan, scatter: Any) -> Tracer:
    """The block after the write; or, without index arrays, what is written to it."""
    new = cast(lift(value), block.type.dtype)
    if not plan.arrays:
        return _fitted(new, block.shape, plan)
    merged, index, axis = merge(block, plan)
    made = (*merged.shape[:axis], *index.shape, *merged.shape[axis + 1 :])
    order = placed_order(plan, axis, index.ndim, len(made))
    new = permute(_fitted(new, tuple(made[i] for i in order), plan), _inverse(order))
    written = emit(scatter(axis), merged, new, index)
    together = plan.axes == tuple(range(plan.axes[0], plan.axes[0] + len(plan.axes)))
    if together:
        return reshape(written, block.shape)
    front = to_front(plan.axes, block.ndim)
    return permute(reshape(written, tuple(block.shape[i] for i in front)), _inverse(front))


def _fitted(value: Tracer, shape: tuple[int, ...], plan: Plan) -> Tracer:
    """The value broadcast to what the index reads, without the new axes."""
    wanted = expanded(shape, plan)
    return reshape(broadcast_to(_trimmed(value, wanted), wanted), shape)


def _trimmed(value: Tracer, shape: tuple[int, ...]) -> Tracer:
    """NumPy lets a written value have leading axes of length 1 too many."""
    extra = value.ndim - len(shape)
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        value = reshape(value, value.shape[extra:])
    try:
        fits = np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"a value of shape {value.shape} does not broadcast into {shape}, at {refusals.here()}"
        )
    return value


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _whole(block: Tracer, plan: Plan) -> Tracer:
    """The block with the axes of integers again, and in the direction of the array."""
    region = plan.region
    return flip(reshape(block, region.block), region.reversed)


def _written(x: Tracer, block: Tracer, region: Region, axis: int = 0) -> Tracer:
    """`x` with a block in its place: axis by axis, the block between what is around it."""
    if not block.size:
        return x
    while axis < x.ndim and block.shape[axis] == x.shape[axis]:
        axis += 1
    if axis == x.ndim:
        return block
    start, stop, step = region.start[axis], region.stop[axis], region.step[axis]
    n = x.shape[axis]
    if step == 1:
        rows = _written(cut_axis(x, axis, start, stop), block, region, axis + 1)
        return joined([cut_axis(x, axis, 0, start), rows, cut_axis(x, axis, stop, n)], axis)
    low, high, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    low[axis], high[axis], steps[axis] = start, stop, step
    rows = emit(Slice(tuple(low), tuple(high), tuple(steps)), x)
    rows = _written(rows, block, region, axis + 1)
    return emit(ScatterSet(axis), x, rows, lift(np.arange(start, stop, step)))


def _margins(region: Region, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Zeros before, after and between the elements of a block that fill it up to the array."""
    low = region.start
    interior = tuple(k - 1 for k in region.step)
    reached = tuple(
        i + (m - 1) * k + 1 for i, m, k in zip(low, region.block, region.step, strict=True)
    )
    return low, tuple(n - r for n, r in zip(shape, reached, strict=True)), interior
