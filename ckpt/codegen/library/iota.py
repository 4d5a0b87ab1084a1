"""The kernel of `iota`."""

from numba import njit

from ckpt.codegen.library.axis import inner_size
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def iota(out: Array, axis: int) -> None:
    """Write to each place its index along an axis."""
    flat, n, inner = out.reshape(-1), out.shape[axis], inner_size(out, axis)
    for i in range(flat.size):
        flat[i] = i // inner % n
