"""The kernel of `take_along_axis`."""

from numba import njit

from ckpt.codegen.library.axis import inner_size, place
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def take_along_axis(x: Array, index: Array, out: Array, axis: int) -> None:
    """Copy from the place that each index names in its own line; zeros from empty lines."""
    flat, xs, indices = out.reshape(-1), x.flat, index.flat
    n, m, inner = x.shape[axis], index.shape[axis], inner_size(x, axis)
    if n == 0:
        out[...] = 0
        return
    for i in range(flat.size):
        line = i // (m * inner) * n
        flat[i] = xs[(line + place(indices[i], n)) * inner + i % inner]
