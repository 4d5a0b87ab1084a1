"""The kernel of `pool_scatter`."""

from numba import njit

from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def pool_scatter(y: Array, index: Array, x: Array, image: tuple[int, int]) -> None:
    """Add `y: f32[n,c,i,j]` into images of zeros, value by value in the order of `y`."""
    wide, size = image[1], image[0] * image[1]
    x[:] = 0
    for n in range(y.shape[0]):
        for c in range(y.shape[1]):
            values, places, out = y[n, c], index[n, c], x[n, c]
            for i in range(values.shape[0]):
                for j in range(values.shape[1]):
                    at = places[i, j]
                    if 0 <= at < size:
                        out[at // wide, at % wide] += values[i, j]
