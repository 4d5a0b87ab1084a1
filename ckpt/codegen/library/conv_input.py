"""The kernel of `conv_input`: tiles of patches are products, added to the image they belong to."""

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
    result_matrix,
)
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
    tiles: Triple,
) -> None:
    """Spread `y` over the images `x`; each element is summed tile by tile in a fixed order."""
    results = (y.ctypes.data, y.shape, y.strides)
    kernels = (w.ctypes.data, w.shape, w.strides)
    windows = ((w.shape[2], w.shape[3]), stride, low, dilation)
    out, memory = x.ctypes.data, scratch.ctypes.data
    _conv_input(x.itemsize, results, kernels, out, x.shape, memory, windows, groups, tiles)


@njit(error_model="numpy")
def _conv_input(
    item: int,
    spread: Placed,
    kernels: Placed,
    x: int,
    shape: Four,
    scratch: int,
    windows: Windows,
    groups: int,
    tiles: Triple,
) -> None:
    (y, y_shape, y_step), (w, w_shape, w_step) = spread, kernels
    channels, results, places = tiles
    spots, columns = w_shape[2] * w_shape[3], y_shape[2] * y_shape[3]
    inner, outer = w_shape[1], w_shape[0] // groups
    spare = scratch + channels * spots * places * item
    spare_back = spare + results * channels * spots * item
    plane = shape[2] * shape[3] * item
    clear(x, shape[0] * shape[1] * plane)
    if outer == 0:
        return
    for n in range(shape[0]):
        for group in range(groups):
            for at in range(0, columns, places):
                some = (at, min(places, columns - at), y_shape[3])
                for c in range(0, inner, channels):
                    part = (min(channels, inner - c), shape[2], shape[3])
                    for k in range(group * outer, (group + 1) * outer, results):
                        count = min(results, (group + 1) * outer - k)
                        block = (count, part[0], w_shape[2], w_shape[3])
                        place = w + k * w_step[0] + c * w_step[1]
                        left, lda = kernel_matrix(item, place, block, w_step, spare)
                        place = y + n * y_step[0] + k * y_step[1]
                        step = (y_step[1], y_step[2], y_step[3])
                        right, ldb = result_matrix(item, place, count, step, spare_back, some)
                        size, before = (part[0] * spots, some[1], count), 1.0
                        if k == group * outer:
                            before = 0.0
                        out, a, b = (scratch, some[1]), (left, lda, True), (right, ldb, False)
                        gemm(item, size, 1.0, a, b, before, out)
                    image = x + (n * shape[1] + group * inner + c) * plane
                    step = (plane, shape[3] * item, item)
                    patches(True, item, image, part, step, scratch, some, windows)
