"""The kernel of `max_pool`."""

from numba import njit

from ckpt.codegen.library.windows import Pair, row_of_maxima
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def max_pool(x: Array, y: Array, window: Pair, stride: Pair, low: Pair, lowest: float) -> None:
    """The greatest element of each window of `x: f32[n,c,h,w]`; none is below `lowest`."""
    for n in range(y.shape[0]):
        for c in range(y.shape[1]):
            for i in range(y.shape[2]):
                row_of_maxima(x[n, c], y[n, c, i], i, lowest, window, stride, low)
