"""The kernel of `scatter_add_along_axis`."""

from numba import njit

from ckpt.codegen.library.axis import inner_size, place
from ckpt.codegen.library.base import start_from
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def scatter_add_along_axis(x: Array, u: Array, index: Array, out: Array, axis: int) -> None:
    """Copy `x`, unless it is in place already, and add `u` to the places named in each line."""
    start_from(x, out)
    flat, us, indices = out.reshape(-1), u.flat, index.flat
    n, m, inner = x.shape[axis], index.shape[axis], inner_size(x, axis)
    if n == 0:
        return
    for i in range(index.size):
        line = i // (m * inner) * n
        flat[(line + place(indices[i], n)) * inner + i % inner] += us[i]
