"""The kernel of `scatter_add`."""

from numba import njit

from ckpt.codegen.library.axis import inner_size, place
from ckpt.codegen.library.base import start_from
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def scatter_add(x: Array, u: Array, index: Array, out: Array, axis: int) -> None:
    """Copy `x`, unless it is in place already, and add `u` in order to the indexed places."""
    start_from(x, out)
    flat, us, indices = out.reshape(-1), u.flat, index.flat
    n, inner = x.shape[axis], inner_size(x, axis)
    if n == 0:
        return
    at = 0
    for outer in range(u.size // max(index.size * inner, 1)):
        for k in range(index.size):
            start = (outer * n + place(indices[k], n)) * inner
            for c in range(inner):
                flat[start + c] += us[at]
                at += 1
