"""The kernel of `conv_input`: each place of an image sees the results whose windows hold it.

With strides, places fall into phases: those of one phase are seen through the same spots of a
window, whose results lie next to one another.
"""

import numpy as np
from numba import njit

from ckpt.codegen.address import clear, read, write
from ckpt.codegen.library.correlate import Axis, correlate
from ckpt.codegen.library.images import Blocking, Pair, Placed
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def conv_input(
    y: Array,
    w: Array,
    x: Array,
    scratch: Array,
    stride: Pair,
    low: Pair,
    dilation: Pair,
    groups: int,
    between: int,
    blocking: Blocking,
) -> None:
    """Spread `y` over images; `between` is how many elements of x lie from one to the next."""
    results = (y.ctypes.data, y.shape, y.strides)
    kernels = (w.ctypes.data, w.shape, w.strides)
    steps = (between * x.itemsize, x.strides[1], x.strides[2], x.strides[3])
    images = (x.ctypes.data, x.shape, steps)
    how = (stride, low, dilation)
    _conv_input(x.itemsize, results, kernels, images, how, groups, blocking, scratch.ctypes.data)


@njit(error_model="numpy")
def _conv_input(
    item: int,
    results: Placed,
    kernels: Placed,
    images: Placed,
    how: tuple[Pair, Pair, Pair],
    groups: int,
    blocking: Blocking,
    scratch: int,
) -> None:
    (w, w_shape, w_step), (x, shape, step) = kernels, images
    stride, low, dilation = how
    inner, outer = w_shape[1], w_shape[0] // groups
    weights = (w, (outer * w_step[0], w_step[1], w_step[0], 0))
    across_at = scratch + 16 * w_shape[2]
    free = across_at + 16 * w_shape[3]
    if stride[0] * stride[1] > 1:
        for n in range(shape[0]):  # there may be places that no window holds
            clear(x + n * step[0], shape[1] * step[1])
    for i in range(min(stride[0], shape[2])):
        down = _axis(i, stride[0], low[0], dilation[0], (w_shape[2], w_step[2]), scratch)
        for j in range(min(stride[1], shape[3])):
            of_columns = (w_shape[3], w_step[3])
            across = _axis(j, stride[1], low[1], dilation[1], of_columns, across_at)
            if down[3] == 0 or across[3] == 0:
                continue
            size = ((shape[2] - i - 1) // stride[0] + 1, (shape[3] - j - 1) // stride[1] + 1)
            place = x + i * step[2] + j * step[3]
            steps = (step[0], step[1], step[2] * stride[0], step[3] * stride[1])
            out = (place, (shape[0], shape[1], size[0], size[1]), steps)
            channels = (outer, inner, groups)
            correlate(item, results, weights, out, (down, across), channels, blocking, free)


@njit(error_model="numpy")
def _axis(phase: int, stride: int, low: int, dilation: int, window: Pair, table: int) -> Axis:
    """How places of a phase see results along an axis; `window` is its length, and bytes a step."""
    first, last, count = 0, 0, 0
    for r in range(window[0]):
        if (phase + low - r * dilation) % stride == 0:
            seen = (phase + low - r * dilation) // stride
            first = seen if count == 0 else min(first, seen)
            last = seen if count == 0 else max(last, seen)
            write(seen, table, 2 * count)
            write(r * window[1], table, 2 * count + 1)
            count += 1
    for t in range(count):
        write(read(np.int64(0), table, 2 * t) - first, table, 2 * t)
    return first, 1, last - first, count, table
