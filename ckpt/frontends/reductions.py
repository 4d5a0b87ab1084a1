"""Reductions and running totals: sums, products, extrema, means and what is made of them."""

from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.axes import (
    Axes,
    axes_of,
    axis_of,
    dropped_shape,
    keeping,
    kept_shape,
)
from ckpt.frontends.dispatch import UFUNC_METHODS, rule_of
from ckpt.frontends.lets import (
    array,
    broadcast_to,
    cast,
    emit,
    full,
    number,
    reshape,
    size_of,
    total,
)
from ckpt.frontends.lift import supported
from ckpt.frontends.promotion import converted, joined_dtype, operand
from ckpt.frontends.selection import where as select
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.ops.reduce import Argmax, Argmin, Max, Min, Prod
from ckpt.ops.scan import Cumprod, Cumsum

_UNSET = object()


def _accumulator(x: Tracer, dtype: Any) -> DType:
    """The dtype in which NumPy sums: i64 for bools and integers, unless one is asked for."""
    if dtype is not None:
        return supported(dtype, "the sum")
    return x.type.dtype if x.type.dtype.is_float else DType.I64


def _masked(x: Tracer, where: Any, otherwise: Any) -> Tracer:
    if where is True:
        return x
    return select(where, x, converted(operand(otherwise), x.type.dtype))


@rule_of(np.sum)
def sum(  # noqa: A001, PLR0917
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 0,
    where: Any = True,
) -> Tracer:
    """`np.sum`."""
    del out
    x = array(a)
    x = _masked(cast(x, _accumulator(x, dtype)), where, 0)
    axes = axes_of(axis, x.ndim)
    result = keeping(_sum(x, axes), x.shape, axes, keepdims)
    if type(initial) is int and initial == 0:
        return result
    return cast(array(result + initial), x.type.dtype)


def _sum(x: Tracer, axes: Axes) -> Tracer:
    if x.type.dtype is DType.BOOL:  # dtype=bool was asked for: any
        return _any(x, axes)
    return total(x, axes)


@rule_of(np.prod)
def prod(  # noqa: PLR0917
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = 1,
    where: Any = True,
) -> Tracer:
    """`np.prod`."""
    del out
    x = array(a)
    x = _masked(cast(x, _accumulator(x, dtype)), where, 1)
    axes = axes_of(axis, x.ndim)
    result = keeping(_prod(x, axes), x.shape, axes, keepdims)
    if type(initial) is int and initial == 1:
        return result
    return cast(array(result * initial), x.type.dtype)


def _prod(x: Tracer, axes: Axes) -> Tracer:
    if x.type.dtype is DType.BOOL:  # dtype=bool was asked for: all
        return _all(x, axes)
    return emit(Prod(axes), x) if axes else x


def _extremum(  # noqa: PLR0917
    op: Any, join: Any, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any
) -> Any:
    x = array(a)
    if where is not True:
        if initial is _UNSET:
            raise ValueError(f"np.{op.__name__.lower()} with where= needs initial=")
        x = _masked(x, where, initial)
    axes = axes_of(axis, x.ndim)
    if initial is not _UNSET and x.size == 0:
        return full(dropped_shape(x.shape, axes), initial, x.type.dtype)
    if x.size == 0 and 0 not in dropped_shape(x.shape, axes):
        raise ValueError("zero-size array to reduction operation which has no identity")
    result = keeping(emit(op(axes), x) if axes else x, x.shape, axes, keepdims)
    return result if initial is _UNSET else join(result, initial)


@rule_of(np.max, np.amax)
def max(  # noqa: A001, PLR0917
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = _UNSET,
    where: Any = True,
) -> Any:
    """`np.max`."""
    del out
    return _extremum(Max, np.maximum, a, axis, keepdims, initial, where)


@rule_of(np.min, np.amin)
def min(  # noqa: A001, PLR0917
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = _UNSET,
    where: Any = True,
) -> Any:
    """`np.min`."""
    del out
    return _extremum(Min, np.minimum, a, axis, keepdims, initial, where)


def _place(op: Any, a: Any, axis: Any, keepdims: bool) -> Tracer:
    x = array(a)
    if axis is None:
        ones = (1,) * x.ndim
        x, axis = reshape(x, (x.size,)), 0
        shape = ones
    else:
        axis = axis_of(axis, x.ndim)
        shape = kept_shape(x.shape, (axis,))
    if x.shape[axis] == 0:
        raise ValueError("attempt to get argmax or argmin of an empty sequence")
    out = emit(op(axis), x)
    return reshape(out, shape) if keepdims else out


@rule_of(np.argmax)
def argmax(a: Any, axis: Any = None, out: None = None, *, keepdims: bool = False) -> Tracer:
    """`np.argmax`."""
    del out
    return _place(Argmax, a, axis, keepdims)


@rule_of(np.argmin)
def argmin(a: Any, axis: Any = None, out: None = None, *, keepdims: bool = False) -> Tracer:
    """`np.argmin`."""
    del out
    return _place(Argmin, a, axis, keepdims)


def _any(x: Tracer, axes: Axes) -> Tracer:
    if size_of(x.shape, axes) == 0:
        return full(dropped_shape(x.shape, axes), False, DType.BOOL)
    return emit(Max(axes), x) if axes else x


def _all(x: Tracer, axes: Axes) -> Tracer:
    if size_of(x.shape, axes) == 0:
        return full(dropped_shape(x.shape, axes), True, DType.BOOL)
    return emit(Min(axes), x) if axes else x


@rule_of(np.any)
def any(  # noqa: A001
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Tracer:
    """`np.any`: the largest of bools."""
    del out
    x = _masked(cast(array(a), DType.BOOL), where, False)
    axes = axes_of(axis, x.ndim)
    return keeping(_any(x, axes), x.shape, axes, keepdims)


@rule_of(np.all)
def all(  # noqa: A001
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Tracer:
    """`np.all`: the smallest of bools."""
    del out
    x = _masked(cast(array(a), DType.BOOL), where, True)
    axes = axes_of(axis, x.ndim)
    return keeping(_all(x, axes), x.shape, axes, keepdims)


@rule_of(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tracer:
    """`np.count_nonzero`."""
    return sum(cast(array(a), DType.BOOL), axis, keepdims=keepdims)


def _averaging(x: Tracer, dtype: Any) -> Tracer:
    """The operand in the dtype in which means are worked out: f64 for bools and integers.

    Of halves f32, in which NumPy averages too: their sums may be infinite where the mean is not.
    """
    if dtype is not None:
        x = cast(x, supported(dtype, "the mean"))
    return cast(x, x.type.dtype.wide if x.type.dtype.is_float else DType.F64)


def _averaged(x: Tracer, of: Any, dtype: Any) -> Tracer:
    """A mean of halves, or of what was asked for in them, in their dtype."""
    asked = of.type.dtype if dtype is None else supported(dtype, "the mean")
    return cast(x, asked) if asked.is_half else x


def _count(x: Tracer, axes: Axes, where: Any) -> Any:
    if where is True:
        return number(size_of(x.shape, axes), x.type.dtype)
    mask = broadcast_to(cast(array(where), x.type.dtype), x.shape)
    return total(mask, axes)


@rule_of(np.mean)
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Any:
    """`np.mean`: the sum divided by the number of elements."""
    del out
    given = array(a)
    x = _averaging(given, dtype)
    axes = axes_of(axis, x.ndim)
    result = total(_masked(x, where, 0), axes) / _count(x, axes, where)
    return _averaged(keeping(result, x.shape, axes, keepdims), given, dtype)


@rule_of(np.var)
def var(  # noqa: PLR0917
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: Any = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = _UNSET,
) -> Any:
    """`np.var`: the mean of squared deviations, in two passes as NumPy has it."""
    del out
    given = array(a)
    x = _averaging(given, dtype)
    axes = axes_of(axis, x.ndim)
    count = _count(x, axes, where)
    if mean is None:
        middle: Any = total(_masked(x, where, 0), axes) / count
        middle = reshape(middle, kept_shape(x.shape, axes))
    else:
        middle = mean
    squares = _masked(np.square(x - middle), where, 0)
    rest = count - (ddof if correction is _UNSET else correction)
    result: Any = total(squares, axes) / np.maximum(rest, 0)
    return _averaged(keeping(result, x.shape, axes, keepdims), given, dtype)


@rule_of(np.std)
def std(  # noqa: PLR0917
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: Any = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = _UNSET,
) -> Any:
    """`np.std`: the root of the variance."""
    spread = var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    return np.sqrt(spread)


@rule_of(np.ptp)
def ptp(a: Any, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
    """`np.ptp`: the largest minus the smallest element."""
    del out
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


@rule_of(np.average)
def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Any:
    """`np.average`: the mean with weights of the same shape, or along one axis."""
    x = array(a)
    if weights is None:
        result = mean(x, axis, keepdims=keepdims)
        axes = axes_of(axis, x.ndim)
        scale: Any = full(result.shape, size_of(x.shape, axes), result.type.dtype)
    else:
        w = array(weights)
        if w.shape != x.shape:
            axes = axes_of(axis, x.ndim)
            if axis is None or w.shape != tuple(x.shape[i] for i in axes):
                raise ValueError(f"weights of shape {w.shape} do not fit {x.shape} along {axis}")
            w = reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(x.shape)))
            w = broadcast_to(w, x.shape)
        dtypes = [x.dtype, w.dtype] + [np.dtype(np.float64)] * (not x.type.dtype.is_float)
        dtype = joined_dtype(dtypes, "the average")
        x, w = cast(x, dtype), cast(w, dtype)
        scale = sum(w, axis, keepdims=keepdims)
        result = sum(np.multiply(x, w), axis, keepdims=keepdims) / scale
    return (result, scale) if returned else result


def _ignoring_nan(a: Any, otherwise: float) -> tuple[Tracer, Tracer]:
    x = array(a)
    bad: Any = np.isnan(x)
    return select(bad, number(otherwise, x.type.dtype), x) if x.type.dtype.is_float else x, bad


@rule_of(np.nansum)
def nansum(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
) -> Tracer:
    """`np.nansum`: NaN counts as zero."""
    return sum(_ignoring_nan(a, 0)[0], axis, dtype, out, keepdims)


@rule_of(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
) -> Any:
    """`np.nanmean`: the mean of what is not NaN."""
    x, bad = _ignoring_nan(a, 0)
    return mean(x, axis, dtype, out, keepdims, where=~bad)  # pyright: ignore[reportOperatorIssue]


def _totals(op: Any, a: Any, axis: Any, dtype: Any) -> Tracer:
    x = array(a)
    x = cast(x, _accumulator(x, dtype))
    if x.type.dtype is DType.BOOL:
        refusals.refuse_parameter("np.cumsum", "dtype=bool", "use an integer dtype")
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    return emit(op(axis_of(axis, x.ndim)), x)


@rule_of(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Tracer:
    """`np.cumsum`."""
    del out
    return _totals(Cumsum, a, axis, dtype)


@rule_of(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Tracer:
    """`np.cumprod`."""
    del out
    return _totals(Cumprod, a, axis, dtype)


_REDUCE: dict[np.ufunc, Any] = {
    np.add: sum,
    np.multiply: prod,
    np.maximum: max,
    np.minimum: min,
    np.logical_and: all,
    np.logical_or: any,
}


def _reduce(ufunc: np.ufunc, x: Any, axis: Any = 0, dtype: Any = None, **given: Any) -> Any:
    rule = _REDUCE.get(ufunc)
    if rule is None:
        names = [f"{refusals.qualified(u)}.reduce" for u in _REDUCE]
        refusals.refuse_function(f"{refusals.qualified(ufunc)}.reduce", names)
    if dtype is not None:
        given["dtype"] = dtype
    return rule(x, axis, **given)


def _accumulate(ufunc: np.ufunc, x: Any, axis: Any = 0, dtype: Any = None) -> Any:
    rules: dict[np.ufunc, Any] = {np.add: cumsum, np.multiply: cumprod}
    rule = rules.get(ufunc)
    if rule is None:
        refusals.refuse_function(
            f"{refusals.qualified(ufunc)}.accumulate", ["np.add.accumulate", "np.cumsum"]
        )
    return rule(x, axis, dtype)


def _outer(ufunc: np.ufunc, x: Any, y: Any, **given: Any) -> Any:
    x, y = operand(x), operand(y)
    n = np.ndim(y)
    tall = reshape(x, (*x.shape, *(1,) * n)) if isinstance(x, Tracer) else _tall(x, n)
    return ufunc(tall, y, **given)


def _tall(x: Any, n: int) -> Any:
    plain = np.asarray(x)
    return plain.reshape(*plain.shape, *(1,) * n) if plain.ndim else x


UFUNC_METHODS.update(reduce=_reduce, accumulate=_accumulate, outer=_outer)
