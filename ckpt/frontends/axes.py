"""Axis arguments as NumPy takes them, and results that keep reduced axes."""

from collections.abc import Sequence
from typing import Any

from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ckpt.frontends.lets import Shape, reshape
from ckpt.frontends.tracer import Tracer

Axes = tuple[int, ...]


def axes_of(axis: Any, ndim: int) -> Axes:
    """The axes that an `axis` argument names, counted from the front; None names all.

    Raises:
        numpy.exceptions.AxisError: there is no such axis.
    """
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(int(i) for i in normalize_axis_tuple(axis, ndim, "axis")))


def axis_of(axis: Any, ndim: int) -> int:
    """The one axis that an `axis` argument names, counted from the front.

    Raises:
        numpy.exceptions.AxisError: there is no such axis.
    """
    return int(normalize_axis_index(axis, ndim))


def kept_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """A shape with length 1 along reduced axes."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def dropped_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """A shape without the reduced axes."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def keeping(out: Tracer, shape: Shape, axes: Sequence[int], keepdims: bool) -> Tracer:
    """The result of a reduction over axes of `shape`, with the axes kept if that is asked."""
    return reshape(out, kept_shape(shape, axes)) if keepdims else out
