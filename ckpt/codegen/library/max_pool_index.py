"""The kernel of `max_pool_index`."""

import numpy as np
from numba import njit

from ckpt.codegen.library.windows import Pair, reach, row_of_maxima
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def max_pool_index(
    x: Array, index: Array, scratch: Array, window: Pair, stride: Pair, low: Pair, lowest: float
) -> None:
    """Where the first maximum of each window of `x: f32[n,c,h,w]` is, along its rows."""
    best = scratch.view(x.dtype)[: index.shape[3]]
    for n in range(index.shape[0]):
        for c in range(index.shape[1]):
            for i in range(index.shape[2]):
                row_of_maxima(x[n, c], best, i, lowest, window, stride, low)
                _find(x[n, c], best, index[n, c, i], i, window, stride, low)


@njit(error_model="numpy")
def _find(
    image: Array, best: Array, out: Array, i: int, window: Pair, stride: Pair, low: Pair
) -> None:
    """Where the maxima of row `i` stand: the places of windows are met last to first."""
    for back_r in range(window[0]):
        r = window[0] - 1 - back_r
        h = i * stride[0] + r - low[0]
        if h < 0 or h >= image.shape[0]:
            continue
        for back_s in range(window[1]):
            s = window[1] - 1 - back_s
            left, right = reach(s, stride[1], low[1], best.size, image.shape[1])
            if left == right:
                continue
            start = left * stride[1] + s - low[1]
            line = image[h, start:]
            place = h * image.shape[1] + start
            known, found = best[left:right], out[left:right]
            for t in range(known.size):
                value = line[t * stride[1]]
                here = (value == known[t]) | (value != value)  # noqa: PLR0124
                found[t] = np.int32(place + t * stride[1]) if here else found[t]
