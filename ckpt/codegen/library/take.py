"""The kernel of `take`."""

from numba import njit

from ckpt.codegen.library.axis import inner_size, place
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def take(x: Array, index: Array, out: Array, axis: int) -> None:
    """Copy from each indexed place of an axis of `x`; zeros when that axis is empty."""
    flat, xs, indices = out.reshape(-1), x.flat, index.flat
    n, inner = x.shape[axis], inner_size(x, axis)
    if n == 0:
        out[...] = 0
        return
    to = 0
    for outer in range(flat.size // max(index.size * inner, 1)):
        for k in range(index.size):
            start = (outer * n + place(indices[k], n)) * inner
            for c in range(inner):
                flat[to] = xs[start + c]
                to += 1
