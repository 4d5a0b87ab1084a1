"""The kernel of `conv`: tiles of patches, each multiplied by the kernel's matrix."""

from numba import njit

from ckpt.codegen.address import clear
from ckpt.codegen.blas import gemm
from ckpt.codegen.library.patches import (
    Four,
    Pair,
    Placed,
    Triple,
    Windows,
    kernel_matrix,
    patches,
)
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
    tiles: Triple,
) -> None:
    """`y[n,k]` is the sum over c of `x[n,c]` correlated with `w[k,c]`; `tiles` are the op's."""
    images = (x.ctypes.data, x.shape, x.strides)
    kernels = (w.ctypes.data, w.shape, w.strides)
    windows = ((w.shape[2], w.shape[3]), stride, low, dilation)
    out, memory = y.ctypes.data, scratch.ctypes.data
    _conv(x.itemsize, images, kernels, out, y.shape, memory, windows, groups, tiles)


@njit(error_model="numpy")
def _conv(
    item: int,
    images: Placed,
    kernels: Placed,
    y: int,
    shape: Four,
    scratch: int,
    windows: Windows,
    groups: int,
    tiles: Triple,
) -> None:
    (x, x_shape, x_step), (w, w_shape, w_step) = images, kernels
    channels, results, places = tiles
    spots, columns = w_shape[2] * w_shape[3], shape[2] * shape[3]
    inner, outer = w_shape[1], w_shape[0] // groups
    spare = scratch + channels * spots * places * item
    step = (x_step[1], x_step[2], x_step[3])
    if inner == 0:
        clear(y, shape[0] * shape[1] * columns * item)
    for n in range(shape[0]):
        for group in range(groups):
            for at in range(0, columns, places):
                some = (at, min(places, columns - at), shape[3])
                for c in range(0, inner, channels):
                    image = x + n * x_step[0] + (group * inner + c) * x_step[1]
                    part = (min(channels, inner - c), x_shape[2], x_shape[3])
                    patches(False, item, image, part, step, scratch, some, windows)
                    right, before = (scratch, some[1], False), 1.0 if c > 0 else 0.0
                    for k in range(group * outer, (group + 1) * outer, results):
                        count = min(results, (group + 1) * outer - k)
                        block = (count, part[0], w_shape[2], w_shape[3])
                        place = w + k * w_step[0] + c * w_step[1]
                        matrix, row = kernel_matrix(item, place, block, w_step, spare)
                        out = y + ((n * shape[1] + k) * columns + at) * item
                        size, left = (count, some[1], part[0] * spots), (matrix, row, False)
                        gemm(item, size, 1.0, left, right, before, (out, columns))
