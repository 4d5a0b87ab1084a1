"""Joining and splitting arrays along an axis."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.axes import axis_of
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.lets import array, cast, cut_axis, emit, reshape
from ckpt.frontends.lift import supported
from ckpt.frontends.promotion import promoted
from ckpt.frontends.shapes import atleast_1d, atleast_2d, atleast_3d, expand_dims, lengths, ravel
from ckpt.frontends.tracer import Tracer
from ckpt.ops.pieces import Concatenate


def joined(xs: Sequence[Tracer], axis: int) -> Tracer:
    """Operands of one dtype, one after another along an axis; empty ones are left out."""
    full = [x for x in xs if x.shape[axis]] or list(xs[:1])
    return full[0] if len(full) == 1 else emit(Concatenate(axis), *full)


@rule_of(np.concatenate)
def concatenate(
    arrays: Any, axis: Any = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    """`np.concatenate`."""
    del out, casting
    xs = _together(arrays, dtype, "np.concatenate")
    if axis is None:
        xs, axis = [ravel(x) for x in xs], 0
    if any(x.ndim == 0 for x in xs):
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    i = axis_of(axis, xs[0].ndim)
    rests = {(*x.shape[:i], *x.shape[i + 1 :]) for x in xs}
    if len(rests) > 1 or len({x.ndim for x in xs}) > 1:
        shapes = ", ".join(str(x.shape) for x in xs)
        raise ValueError(f"shapes {shapes} differ beyond axis {axis}, at {refusals.here()}")
    return joined(xs, i)


def _together(arrays: Any, dtype: Any, what: str) -> list[Tracer]:
    several = list(arrays)
    if not several:
        raise ValueError(f"{what} needs at least one array")
    xs = promoted(*several, what=what)
    return xs if dtype is None else [cast(x, supported(dtype, what)) for x in xs]


@rule_of(np.stack)
def stack(
    arrays: Any, axis: Any = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Tracer:
    """`np.stack`: along a new axis."""
    del out, casting
    xs = _together(map(array, arrays), dtype, "np.stack")
    if len({x.shape for x in xs}) > 1:
        raise ValueError("all input arrays must have the same shape")
    i = axis_of(axis, xs[0].ndim + 1)
    shape = (*xs[0].shape[:i], 1, *xs[0].shape[i:])
    return joined([reshape(x, shape) for x in xs], i)


@rule_of(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    """`np.vstack`: rows."""
    return concatenate([atleast_2d(x) for x in tup], 0, dtype=dtype, casting=casting)


@rule_of(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Tracer:
    """`np.hstack`: side by side."""
    xs = [atleast_1d(x) for x in tup]
    axis = 0 if xs and xs[0].ndim == 1 else 1
    return concatenate(xs, axis, dtype=dtype, casting=casting)


@rule_of(np.dstack)
def dstack(tup: Any) -> Tracer:
    """`np.dstack`: behind each other."""
    return concatenate([atleast_3d(x) for x in tup], 2)


@rule_of(np.column_stack)
def column_stack(tup: Any) -> Tracer:
    """`np.column_stack`: vectors become columns."""
    xs = [array(x) for x in tup]
    return concatenate([reshape(x, (x.size, 1)) if x.ndim < 2 else x for x in xs], 1)


@rule_of(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Tracer:
    """`np.append`."""
    return concatenate([array(arr), array(values)], axis)


@rule_of(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Tracer]:
    """`np.array_split`: into parts of nearly equal length, or at given places."""
    x = array(ary)
    i = axis_of(axis, x.ndim)
    n = x.shape[i]
    if np.ndim(indices_or_sections) == 0:
        (sections,) = lengths(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.")
        each, extra = divmod(n, sections)
        places = [k * each + min(k, extra) for k in range(sections + 1)]
    else:
        places = [0, *lengths(indices_or_sections), n]
    parts: list[Tracer] = []
    for first, last in pairwise(places):
        start, stop, _ = slice(first, last).indices(n)
        parts.append(cut_axis(x, i, start, max(start, stop)))
    return parts


@rule_of(np.split)
def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Tracer]:
    """`np.split`: into parts of equal length, or at given places."""
    x = array(ary)
    if np.ndim(indices_or_sections) == 0:
        (sections,) = lengths(indices_or_sections)
        if x.shape[axis_of(axis, x.ndim)] % sections:
            raise ValueError("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


@rule_of(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    """`np.vsplit`."""
    return split(ary, indices_or_sections, 0)


@rule_of(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    """`np.hsplit`."""
    x = array(ary)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@rule_of(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    """`np.dsplit`."""
    return split(ary, indices_or_sections, 2)


def unstack(x: Any, /, *, axis: Any = 0) -> tuple[Tracer, ...]:
    """`np.unstack`: the slices along an axis."""
    moved = np.moveaxis(array(x), axis, 0)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return tuple(moved)  # pyright: ignore[reportReturnType]


if hasattr(np, "unstack"):  # NumPy 2.1
    rule_of(np.unstack)(unstack)


@rule_of(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Tracer:
    """`np.roll`: what leaves an axis at one end comes back at the other."""
    x = array(a)
    if axis is None:
        (shifts,) = lengths(shift)
        flat = reshape(x, (x.size,))
        return reshape(_rolled(flat, shifts, 0), x.shape)
    pairs = np.broadcast(lengths(shift), axis)
    for by, along in pairs:
        x = _rolled(x, int(by), axis_of(int(along), x.ndim))
    return x


def _rolled(x: Tracer, by: int, axis: int) -> Tracer:
    n = x.shape[axis]
    first = n - by % n if n else 0
    if first in (0, n):
        return x
    return joined([cut_axis(x, axis, first, n), cut_axis(x, axis, 0, first)], axis)


@rule_of(np.diff)
def diff(a: Any, n: int = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> Any:
    """`np.diff`: differences of neighbours, n times."""
    x = array(a)
    i = axis_of(axis, x.ndim)
    parts = [x]
    for extra, first in ((prepend, True), (append, False)):
        if extra is not None:
            part: Any = array(extra)
            if part.ndim == 0:
                part = np.broadcast_to(part, (*x.shape[:i], 1, *x.shape[i + 1 :]))
            parts = [part, *parts] if first else [*parts, part]
    x = concatenate(parts, i) if len(parts) > 1 else x
    for _ in range(n):
        low, high = cut_axis(x, i, 0, max(x.shape[i] - 1, 0)), cut_axis(x, i, 1, x.shape[i])
        change: Any = (np.not_equal if x.dtype == bool else np.subtract)(high, low)
        x = change
    return x


@rule_of(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    """`np.trapezoid`: the integral of a piecewise linear function."""
    heights = array(y)
    i = axis_of(axis, heights.ndim)
    n = heights.shape[i]
    widths: Any = dx
    if x is not None:
        places: Any = array(x)
        widths = diff(places, axis=-1 if places.ndim == 1 else i)
        if places.ndim == 1:
            widths = expand_dims(widths, tuple(range(1, heights.ndim - i)))
    pairs: Any = np.add(cut_axis(heights, i, 1, n), cut_axis(heights, i, 0, n - 1))
    return np.sum(widths * pairs / 2.0, axis=i)
