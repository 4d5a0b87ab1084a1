"""The kernel of `conv_kernel`: results times tiles of patches, summed over images and places."""

from numba import njit

from ckpt.codegen.address import clear
from ckpt.codegen.blas import gemm
from ckpt.codegen.library.patches import (
    Four,
    Pair,
    Placed,
    Triple,
    Windows,
    patches,
    result_matrix,
)
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def conv_kernel(
    x: Array,
    y: Array,
    w: Array,
    scratch: Array,
    stride: Pair,
    low: Pair,
    dilation: Pair,
    groups: int,
    tiles: Triple,
) -> None:
    """Correlate `x` with `y`; terms are added image by image, tile by tile, in a fixed order."""
    images = (x.ctypes.data, x.shape, x.strides)
    results = (y.ctypes.data, y.shape, y.strides)
    windows = ((w.shape[2], w.shape[3]), stride, low, dilation)
    out, memory = w.ctypes.data, scratch.ctypes.data
    _conv_kernel(x.itemsize, images, results, out, w.shape, memory, windows, groups, tiles)


@njit(error_model="numpy")
def _conv_kernel(
    item: int,
    images: Placed,
    spread: Placed,
    w: int,
    shape: Four,
    scratch: int,
    windows: Windows,
    groups: int,
    tiles: Triple,
) -> None:
    (x, x_shape, x_step), (y, y_shape, y_step) = images, spread
    channels, results, places = tiles
    spots, columns = shape[2] * shape[3], y_shape[2] * y_shape[3]
    inner, outer = shape[1], shape[0] // groups
    spare = scratch + channels * spots * places * item
    step = (x_step[1], x_step[2], x_step[3])
    back = (y_step[1], y_step[2], y_step[3])
    if x_shape[0] == 0:
        clear(w, shape[0] * inner * spots * item)
    for n in range(x_shape[0]):
        for group in range(groups):
            for at in range(0, columns, places):
                some = (at, min(places, columns - at), y_shape[3])
                before = 1.0 if n > 0 or at > 0 else 0.0
                for c in range(0, inner, channels):
                    image = x + n * x_step[0] + (group * inner + c) * x_step[1]
                    part = (min(channels, inner - c), x_shape[2], x_shape[3])
                    patches(False, item, image, part, step, scratch, some, windows)
                    for k in range(group * outer, (group + 1) * outer, results):
                        count = min(results, (group + 1) * outer - k)
                        place = y + n * y_step[0] + k * y_step[1]
                        left, lda = result_matrix(item, place, count, back, spare, some)
                        out = w + (k * inner + c) * spots * item
                        size = (count, part[0] * spots, some[1])
                        a, b = (left, lda, False), (scratch, some[1], True)
                        gemm(item, size, 1.0, a, b, before, (out, inner * spots))
