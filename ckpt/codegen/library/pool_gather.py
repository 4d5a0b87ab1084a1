"""The kernel of `pool_gather`."""

from numba import njit

from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def pool_gather(x: Array, index: Array, y: Array) -> None:
    """Read `x: f32[n,c,h,w]` at positions along the rows of its images."""
    wide, size = x.shape[3], x.shape[2] * x.shape[3]
    for n in range(y.shape[0]):
        for c in range(y.shape[1]):
            image, places, out = x[n, c], index[n, c], y[n, c]
            for i in range(out.shape[0]):
                for j in range(out.shape[1]):
                    at = places[i, j]
                    if 0 <= at < size:
                        out[i, j] = image[at // wide, at % wide]
                    else:
                        out[i, j] = 0
