"""The kernel of `conv`: each place of the result sees a window of an image."""

from numba import njit

from ckpt.codegen.address import write
from ckpt.codegen.library.correlate import correlate
from ckpt.codegen.library.images import Blocking, Pair, Placed
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def conv(
    x: Array,
    w: Array,
    y: Array,
    scratch: Array,
    stride: Pair,
    low: Pair,
    dilation: Pair,
    groups: int,
    between: int,
    blocking: Blocking,
) -> None:
    """`y[n,k]` is the sum over c of `x[n,c]` correlated with `w[k,c]`.

    `between` is how many elements of y lie from one image to the next.
    """
    images = (x.ctypes.data, x.shape, x.strides)
    kernels = (w.ctypes.data, w.shape, w.strides)
    steps = (between * y.itemsize, y.strides[1], y.strides[2], y.strides[3])
    results = (y.ctypes.data, y.shape, steps)
    how = (stride, low, dilation)
    _conv(x.itemsize, images, kernels, results, how, groups, blocking, scratch.ctypes.data)


@njit(error_model="numpy")
def _conv(
    item: int,
    images: Placed,
    kernels: Placed,
    results: Placed,
    how: tuple[Pair, Pair, Pair],
    groups: int,
    blocking: Blocking,
    scratch: int,
) -> None:
    w, w_shape, w_step = kernels
    stride, low, dilation = how
    down, across = scratch, scratch + 16 * w_shape[2]
    for r in range(w_shape[2]):
        write(r * dilation[0], down, 2 * r)
        write(r * w_step[2], down, 2 * r + 1)
    for s in range(w_shape[3]):
        write(s * dilation[1], across, 2 * s)
        write(s * w_step[3], across, 2 * s + 1)
    axes = (
        (-low[0], stride[0], (w_shape[2] - 1) * dilation[0], w_shape[2], down),
        (-low[1], stride[1], (w_shape[3] - 1) * dilation[1], w_shape[3], across),
    )
    inner, outer = w_shape[1], w_shape[0] // groups
    weights = (w, (outer * w_step[0], w_step[0], w_step[1], 0))
    free = across + 16 * w_shape[3]
    correlate(item, images, weights, results, axes, (inner, outer, groups), blocking, free)
