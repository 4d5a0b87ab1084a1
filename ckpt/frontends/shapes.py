"""Shapes: reshaping, moving and repeating axes; nearly all of it costs nothing."""

import operator
from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ckpt.frontends import refusals
from ckpt.frontends.axes import axes_of, axis_of
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.lets import (
    Shape,
    along,
    array,
    broadcast_to,
    flip,
    permute,
    reshape,
)
from ckpt.frontends.tracer import Tracer

_UNSET = object()


@rule_of(np.shape)
def shape(a: Any) -> Shape:
    """`np.shape`: a tuple of Python integers."""
    return array(a).shape


@rule_of(np.ndim)
def ndim(a: Any) -> int:
    """`np.ndim`."""
    return array(a).ndim


@rule_of(np.size)
def size(a: Any, axis: Any = None) -> int:
    """`np.size`."""
    x = array(a)
    return prod(x.shape[i] for i in axes_of(axis, x.ndim))


def lengths(given: Any) -> Shape:
    """A shape argument: an integer or a sequence of them.

    Raises:
        TraceError: one of them is traced; shapes are known before the program runs.
    """
    if isinstance(given, Tracer):
        refusals.refuse_branch("operator.index")
    several = given if isinstance(given, (tuple, list, np.ndarray)) else (given,)
    return tuple(operator.index(n) for n in several)


@rule_of(np.reshape)
def reshape_(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None
) -> Tracer:
    """`np.reshape`, with at most one length -1; order "F" too."""
    del copy
    x = array(a)
    wanted = list(lengths(newshape if shape is None else shape))
    if wanted.count(-1) > 1:
        raise ValueError("can only specify one unknown dimension")
    if -1 in wanted:
        known = prod(n for n in wanted if n != -1)
        wanted[wanted.index(-1)] = x.size // known if known else 0
    if prod(wanted) != x.size or min(wanted, default=0) < 0:
        raise ValueError(f"cannot reshape array of size {x.size} into shape {tuple(wanted)}")
    if order == "F":
        reversed_axes = range(len(wanted))[::-1]
        return permute(reshape(_reversed(x), tuple(wanted[::-1])), reversed_axes)
    _require_row_major("np.reshape", order)
    return reshape(x, tuple(wanted))


def _reversed(x: Tracer) -> Tracer:
    return permute(x, range(x.ndim)[::-1])


def _require_row_major(name: str, order: str) -> None:
    if order not in ("C", "A", "K"):
        refusals.refuse_parameter(name, f"order={order!r}", 'use order="C"')


@rule_of(np.ravel)
def ravel(a: Any, order: str = "C") -> Tracer:
    """`np.ravel`."""
    x = array(a)
    return reshape_(x, (x.size,), order)


@rule_of(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Tracer:
    """`np.copy`: the value itself, since nothing ever writes to it."""
    del order, subok
    return array(a)


@rule_of(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Tracer:
    """`np.transpose`."""
    x = array(a)
    if axes is None:
        return _reversed(x)
    order = normalize_axis_tuple(axes, x.ndim, "axes")
    if len(order) != x.ndim:
        raise ValueError("axes don't match array")
    return permute(x, order)


@rule_of(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Tracer:
    """`np.matrix_transpose`: the last two axes exchanged."""
    return swapaxes(x, -1, -2)


@rule_of(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Tracer:
    """`np.swapaxes`."""
    x = array(a)
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return permute(x, order)


@rule_of(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    """`np.moveaxis`."""
    x = array(a)
    froms = normalize_axis_tuple(source, x.ndim, "source")
    tos = normalize_axis_tuple(destination, x.ndim, "destination")
    if len(froms) != len(tos):
        raise ValueError("`source` and `destination` must have the same number of elements")
    order = [i for i in range(x.ndim) if i not in froms]
    for to, origin in sorted(zip(tos, froms, strict=True)):
        order.insert(to, origin)
    return permute(x, order)


@rule_of(np.rollaxis)
def rollaxis(a: Any, axis: Any, start: Any = 0) -> Tracer:
    """`np.rollaxis`."""
    x = array(a)
    i = axis_of(axis, x.ndim)
    to = start + x.ndim if start < 0 else start
    return moveaxis(x, i, to - 1 if i < to else to)


@rule_of(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Tracer:
    """`np.squeeze`."""
    x = array(a)
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axes = axes_of(axis, x.ndim)
    if any(x.shape[i] != 1 for i in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@rule_of(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Tracer:
    """`np.expand_dims`."""
    x = array(a)
    several = axis if isinstance(axis, (tuple, list)) else (axis,)
    new = axes_of(tuple(several), x.ndim + len(several))
    old = iter(x.shape)
    return reshape(x, tuple(1 if i in new else next(old) for i in range(x.ndim + len(new))))


@rule_of(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    """`np.atleast_1d`."""
    return _each(arrays, lambda s: s or (1,))


@rule_of(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    """`np.atleast_2d`."""
    return _each(arrays, lambda s: (1,) * (2 - len(s)) + s)


@rule_of(np.atleast_3d)
def atleast_3d(*arrays: Any) -> Any:
    """`np.atleast_3d`."""

    def grown(s: Shape) -> Shape:
        return {0: (1, 1, 1), 1: (1, *s, 1), 2: (*s, 1)}.get(len(s), s)

    return _each(arrays, grown)


def _each(arrays: tuple[Any, ...], shape_of: Any) -> Any:
    outs = tuple(reshape(x, shape_of(x.shape)) for x in map(array, arrays))
    return outs[0] if len(outs) == 1 else outs


@rule_of(np.broadcast_to)
def broadcast_to_(array: Any, shape: Any, subok: bool = False) -> Tracer:
    """`np.broadcast_to`."""
    del subok
    from ckpt.frontends.lets import array as of

    x, wanted = of(array), lengths(shape)
    if np.broadcast_shapes(x.shape, wanted) != wanted:
        raise ValueError(f"array of shape {x.shape} could not be broadcast into {wanted}")
    return broadcast_to(x, wanted)


@rule_of(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tracer, ...]:
    """`np.broadcast_arrays`."""
    del subok
    arrays = [array(a) for a in args]
    common = np.broadcast_shapes(*(x.shape for x in arrays))
    return tuple(broadcast_to(x, common) for x in arrays)


@rule_of(np.flip)
def flip_(m: Any, axis: Any = None) -> Tracer:
    """`np.flip`."""
    x = array(m)
    return flip(x, axes_of(axis, x.ndim))


@rule_of(np.fliplr)
def fliplr(m: Any) -> Tracer:
    """`np.fliplr`."""
    return flip_(m, 1)


@rule_of(np.flipud)
def flipud(m: Any) -> Tracer:
    """`np.flipud`."""
    return flip_(m, 0)


@rule_of(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Tracer:
    """`np.rot90`: quarter turns."""
    x = array(m)
    i, j = (axis_of(a, x.ndim) for a in axes)
    if i == j:
        raise ValueError("Axes must be different")
    match k % 4:
        case 0:
            return x
        case 1:
            return swapaxes(flip(x, (j,)), i, j)
        case 2:
            return flip(x, (i, j))
        case _:
            return flip(swapaxes(x, i, j), (j,))


@rule_of(np.tile)
def tile(A: Any, reps: Any) -> Tracer:
    """`np.tile`: the whole array side by side."""
    x, counts = array(A), list(lengths(reps))
    rank = max(x.ndim, len(counts))
    shape = (1,) * (rank - x.ndim) + x.shape
    counts = [1] * (rank - len(counts)) + counts
    # Each axis becomes (count, length), the count repeated, and is joined again.
    repeated = tuple(m for pair in zip(counts, shape, strict=True) for m in pair)
    own = tuple(range(1, 2 * rank, 2))
    return reshape(
        along(reshape(x, shape), own, repeated),
        tuple(c * n for c, n in zip(counts, shape, strict=True)),
    )


@rule_of(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """`np.repeat`: each element, or each slice along an axis, several times."""
    x = array(a)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    i = axis_of(axis, x.ndim)
    counts = lengths(repeats)
    if len(counts) != 1:
        return np.take(x, np.repeat(np.arange(x.shape[i]), counts), axis=i)  # pyright: ignore[reportCallIssue, reportArgumentType]
    (count,) = counts
    shape = (*x.shape[: i + 1], count, *x.shape[i + 1 :])
    own = (*range(i + 1), *range(i + 2, x.ndim + 1))
    return reshape(along(x, own, shape), (*x.shape[:i], x.shape[i] * count, *x.shape[i + 1 :]))
