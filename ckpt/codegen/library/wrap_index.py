"""The kernel of `wrap_index`."""

from numba import njit

from ckpt.codegen.library.axis import place
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def wrap_index(index: Array, out: Array, n: int) -> None:
    """Indices into an axis of length n, counted from its start."""
    flat, indices = out.reshape(-1), index.flat
    for i in range(flat.size):
        flat[i] = place(indices[i], n)
