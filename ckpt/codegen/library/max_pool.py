"""The kernel of `max_pool`."""

from numba import njit

from ckpt.codegen.library.windows import Pair, position_of_maximum, span
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def max_pool(x: Array, y: Array, window: Pair, stride: Pair, low: Pair) -> None:
    """The greatest element of each window of `x: f32[n,c,h,w]`."""
    for n in range(y.shape[0]):
        for c in range(y.shape[1]):
            image, out = x[n, c], y[n, c]
            for i in range(out.shape[0]):
                rows = span(i, stride[0], low[0], window[0], image.shape[0])
                for j in range(out.shape[1]):
                    columns = span(j, stride[1], low[1], window[1], image.shape[1])
                    h, w = position_of_maximum(image, rows, columns)
                    out[i, j] = image[h, w]
