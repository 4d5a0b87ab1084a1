"""The kernel of `last_write`."""

from numba import njit

from ckpt.codegen.library.axis import place
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def last_write(index: Array, out: Array, scratch: Array, n: int) -> None:
    """Walk backwards and mark the first sight of every place; scratch holds what was seen."""
    flat, indices = out.reshape(-1), index.flat
    scratch[:] = 0
    for i in range(flat.size - 1, -1, -1):
        at = place(indices[i], n)
        flat[i] = n > 0 and scratch[at] == 0
        if n > 0:
            scratch[at] = 1
