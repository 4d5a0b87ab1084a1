"""Convolution and pooling of images `[n, channels, height, width]`."""

from typing import Any, Literal

import numpy as np

from ckpt.errors import TraceError
from ckpt.frontends.lets import array, cast, emit
from ckpt.frontends.promotion import promoted
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.numpy.eager import on_arrays_too
from ckpt.ops.convolve import Conv
from ckpt.ops.pool import MaxPool, WindowSum

Pair = tuple[int, int]
Padding = int | Literal["SAME", "VALID"] | tuple[int | Pair, int | Pair]
"""Places added around an image: a number, one per axis, (before, after) per axis, or a name.

"VALID" adds none. "SAME" adds as many as make the result `ceil(length / stride)` long.
"""


@on_arrays_too
def conv2d(
    x: Any,
    w: Any,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """Two-dimensional convolution as in neural networks: windows are not reversed.

    Args:
        x: images `[n, c, h, w]`.
        w: kernels `[k, c // groups, r, s]`.
        stride: steps between windows, down and across.
        padding: zeros around the images.
        dilation: steps between the places of a window.
        groups: parts of the channels that do not mix.

    Returns:
        `[n, k, i, j]`.

    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> conv2d(x, np.ones((1, 1, 3, 3)))
    array([[[[45., 54.],
             [81., 90.]]]])
    >>> conv2d(x, np.ones((1, 1, 3, 3)), stride=2, padding="SAME").shape
    (1, 1, 2, 2)
    """
    image, kernel = (_floating(a) for a in promoted(x, w, what="conv2d"))
    _require_images("conv2d", image)
    if kernel.ndim != 4:
        raise TraceError(f"conv2d: kernels are [k, c // groups, r, s], not {kernel.shape}")
    steps, spread = _pair(stride), _pair(dilation)
    around = _padding(padding, image.shape[2:], kernel.shape[2:], steps, spread)
    return emit(Conv(steps, around, spread, groups), image, kernel)


@on_arrays_too
def max_pool2d(
    x: Any, window: int | Pair, *, stride: int | Pair | None = None, padding: Padding = 0
) -> Any:
    """The greatest element of each window; padding never wins.

    Args:
        x: images `[n, c, h, w]`.
        window: its height and width.
        stride: steps between windows; by default the window, so that windows touch.
        padding: places around the images, less than the window.

    Returns:
        `[n, c, i, j]`.

    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    return emit(MaxPool(*_windows("max_pool2d", x, window, stride, padding)), array(x))


@on_arrays_too
def avg_pool2d(
    x: Any,
    window: int | Pair,
    *,
    stride: int | Pair | None = None,
    padding: Padding = 0,
    include_padding: bool = True,
) -> Any:
    """The mean of each window.

    Args:
        x: images `[n, c, h, w]`.
        window: its height and width.
        stride: steps between windows; by default the window, so that windows touch.
        padding: zeros around the images, less than the window.
        include_padding: whether they count as elements.

    Returns:
        `[n, c, i, j]`.

    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    image = _floating(array(x))
    sums: Any = emit(WindowSum(*_windows("avg_pool2d", image, window, stride, padding)), image)
    if include_padding:
        high, wide = _pair(window)
        return sums / (high * wide)
    ones = np.ones((1, 1, *image.shape[2:]), image.dtype)
    op = WindowSum(*_windows("avg_pool2d", ones, window, stride, padding))
    return sums / op.impl(ones)


def _windows(
    name: str, x: Any, window: int | Pair, stride: int | Pair | None, padding: Padding
) -> tuple[Pair, Pair, tuple[Pair, Pair]]:
    shape = _require_images(name, x)
    size = _pair(window)
    steps = size if stride is None else _pair(stride)
    return size, steps, _padding(padding, shape[2:], size, steps, (1, 1))


def _require_images(name: str, x: Any) -> tuple[int, ...]:
    shape = tuple(np.shape(x))
    if len(shape) != 4:
        raise TraceError(f"{name}: images are [n, channels, height, width], not {shape}")
    return shape


def _floating(x: Tracer) -> Tracer:
    return x if x.type.dtype.is_float else cast(x, DType.F64)


def _pair(given: int | Pair) -> Pair:
    return given if isinstance(given, tuple) else (given, given)


def _padding(
    given: Padding, lengths: tuple[int, ...], window: tuple[int, ...], stride: Pair, dilation: Pair
) -> tuple[Pair, Pair]:
    if given == "SAME":
        first, second = (
            _same(*sizes) for sizes in zip(lengths, window, stride, dilation, strict=True)
        )
        return first, second
    if given == "VALID":
        return (0, 0), (0, 0)
    if isinstance(given, str):
        raise TraceError(f'padding is "SAME", "VALID", a number or numbers, not {given!r}')
    down, across = given if isinstance(given, tuple) else (given, given)
    return _pair(down), _pair(across)


def _same(n: int, window: int, stride: int, dilation: int) -> Pair:
    windows = -(-n // stride)
    total = max((windows - 1) * stride + (window - 1) * dilation + 1 - n, 0)
    return total // 2, total - total // 2
