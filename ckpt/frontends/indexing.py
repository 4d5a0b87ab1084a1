"""Reading by indices: `x[index]`, take, take_along_axis, sorting."""

from math import prod
from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.axes import axis_of
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.index import Plan, plan_of
from ckpt.frontends.lets import (
    Shape,
    array,
    broadcast_to,
    cast,
    cut,
    cut_axis,
    emit,
    flip,
    permute,
    reshape,
)
from ckpt.frontends.lift import lift
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.ops.indexing import Take, TakeAlongAxis, WrapIndex
from ckpt.ops.sort import Argsort


def getitem(x: Tracer, index: Any) -> Tracer:
    """`x[index]`, basic or advanced."""
    x = array(x)
    plan = plan_of(index, x.shape)
    block = region_of(x, plan)
    if plan.arrays:
        block = _gathered(block, plan)
    return reshape(block, expanded(block.shape, plan))


def region_of(x: Tracer, plan: Plan) -> Tracer:
    """The block of `x` that slices and integers name."""
    region = plan.region
    block = flip(cut(x, region.start, region.stop, region.step), region.reversed)
    return reshape(block, region.shape)


def expanded(shape: Shape, plan: Plan) -> Shape:
    """A shape with the new axes of an index."""
    grown = list(shape)
    for i in plan.new:
        grown.insert(i, 1)
    return tuple(grown)


def _gathered(block: Tracer, plan: Plan) -> Tracer:
    if all(np.ndim(i) == 0 for i in plan.arrays):  # one axis after another, each by a number
        for axis, i in sorted(zip(plan.axes, plan.arrays, strict=True), reverse=True):
            block = emit(Take(axis), block, index_operand(i))
        return block
    merged, index, axis = merge(block, plan)
    return placed(emit(Take(axis), merged, index), plan, axis, index.ndim)


def merge(block: Tracer, plan: Plan) -> tuple[Tracer, Tracer, int]:
    """The indexed axes as one axis, the index arrays as one array for it, and that axis.

    The axes are `i * n + j` when they stand together; otherwise they are moved to the front.
    """
    if len(plan.axes) == 1:
        return block, index_operand(plan.arrays[0]), plan.axes[0]
    first, n = plan.axes[0], len(plan.axes)
    if plan.axes != tuple(range(first, first + n)):
        block, first = permute(block, to_front(plan.axes, block.ndim)), 0
    lengths = block.shape[first : first + n]
    merged = reshape(block, (*block.shape[:first], prod(lengths), *block.shape[first + n :]))
    index: Any = _wrapped(plan.arrays[0], lengths[0])
    for i, length in zip(plan.arrays[1:], lengths[1:], strict=True):
        index = index * length + _wrapped(i, length)
    return merged, index_operand(index), first


def to_front(axes: Shape, ndim: int) -> Shape:
    """The order of axes in which some come first."""
    return (*axes, *(i for i in range(ndim) if i not in axes))


def placed(taken: Tracer, plan: Plan, axis: int, rank: int) -> Tracer:
    """Move the `rank` axes that index arrays made, at `axis`, to where NumPy has them."""
    return permute(taken, placed_order(plan, axis, rank, taken.ndim))


def placed_order(plan: Plan, axis: int, rank: int, ndim: int) -> Shape:
    """The order of axes that `placed` makes."""
    made = range(axis, axis + rank)
    rest = [i for i in range(ndim) if i not in made]
    return (*rest[: plan.before], *made, *rest[plan.before :])


def index_operand(i: Any) -> Tracer:
    """An index array as an operand; narrow and unsigned integers become i64."""
    if not isinstance(i, Tracer) and i.dtype not in (np.int32, np.int64):
        i = i.astype(np.int64)
    x = lift(i)
    return cast(x, x.type.dtype)


def _wrapped(i: Any, n: int) -> Any:
    """Indices counted from the start, as i64, so that they can be combined."""
    if isinstance(i, Tracer):
        return emit(WrapIndex(n), index_operand(i))
    return np.where(i < 0, i + n, i).astype(np.int64)


@rule_of(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: None = None, mode: str = "raise") -> Tracer:
    """`np.take`, in each of its modes."""
    del out
    x = array(a)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    i = axis_of(axis, x.ndim)
    n = x.shape[i]
    places: Any = indices if isinstance(indices, Tracer) else np.asarray(indices)
    if mode == "clip":
        places = np.clip(places, 0, n - 1)
    elif mode == "wrap":
        places = places % n
    elif mode != "raise":
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    return getitem(x, (*(slice(None),) * i, places))


@rule_of(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Tracer:
    """`np.take_along_axis`."""
    x = array(arr)
    index = index_operand(indices if isinstance(indices, Tracer) else np.asarray(indices))
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    if index.ndim != x.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    if not index.type.dtype.is_integer:
        raise IndexError("`indices` must be an integer array")
    i = axis_of(axis, x.ndim)
    one_x, one_index = ((*s.shape[:i], 1, *s.shape[i + 1 :]) for s in (x, index))
    common = np.broadcast_shapes(one_x, one_index)
    x = broadcast_to(x, (*common[:i], x.shape[i], *common[i + 1 :]))
    index = broadcast_to(index, (*common[:i], index.shape[i], *common[i + 1 :]))
    return emit(TakeAlongAxis(i), x, index)


@rule_of(np.argsort)
def argsort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Tracer:
    """`np.argsort`; always stable."""
    del kind, stable
    x = array(a)
    if order is not None:
        refusals.refuse_parameter("np.argsort", "order=", "leave the argument out")
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    return emit(Argsort(axis_of(axis, x.ndim)), x)


@rule_of(np.sort)
def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Tracer:
    """`np.sort`: by the indices that sort, so that derivatives follow the elements."""
    x = array(a)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    places = argsort(x, axis, kind, order, stable=stable)
    return take_along_axis(x, places, axis)


@rule_of(np.median)
def median(
    a: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Any:
    """`np.median`: the mean of the middle one or two of the sorted elements."""
    del out, overwrite_input
    x = array(a)
    if not x.type.dtype.is_float:
        x = cast(x, DType.F64)
    if isinstance(axis, tuple):
        refusals.refuse_parameter("np.median", "axis=(...)", "reshape to one axis before")
    i = 0 if axis is None else axis_of(axis, x.ndim)
    line = reshape(x, (x.size,)) if axis is None else x
    n = line.shape[i]
    middle = cut_axis(sort(line, i), i, (n - 1) // 2, n // 2 + 1)
    result: Any = np.mean(middle, axis=i)  # pyright: ignore[reportArgumentType, reportCallIssue]
    # NaN sorts last, and any NaN makes the median NaN.
    last = cut_axis(sort(line, i), i, n - 1, n)
    worst: Any = reshape(last, result.shape)
    result = np.where(np.isnan(worst), worst, result)
    kept = (1,) * x.ndim if axis is None else (*x.shape[:i], 1, *x.shape[i + 1 :])
    return reshape(result, kept) if keepdims else result
