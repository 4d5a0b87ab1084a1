"""The kernel of `window_spread`."""

from numba import njit

from ckpt.codegen.library.windows import Pair, reach
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def window_spread(y: Array, x: Array, window: Pair, stride: Pair, low: Pair) -> None:
    """Add each value of `y: f32[n,c,i,j]` to the places of its window in images of zeros."""
    x[:] = 0
    for n in range(y.shape[0]):
        for c in range(y.shape[1]):
            out, image = y[n, c], x[n, c]
            for r in range(window[0]):
                above, below = reach(r, stride[0], low[0], out.shape[0], image.shape[0])
                for s in range(window[1]):
                    left, right = reach(s, stride[1], low[1], out.shape[1], image.shape[1])
                    if left == right:
                        continue
                    for i in range(above, below):
                        line = image[i * stride[0] + r - low[0], left * stride[1] + s - low[1] :]
                        row = out[i, left:right]
                        for t in range(row.size):
                            line[t * stride[1]] += row[t]
