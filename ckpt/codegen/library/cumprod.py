"""The kernel of `cumprod`."""

from numba import njit

from ckpt.codegen.library.axis import inner_size
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def cumprod(x: Array, out: Array, axis: int, reverse: bool) -> None:
    """Running products along an axis, in its order or against it."""
    flat, n, inner = out.reshape(-1), out.shape[axis], inner_size(out, axis)
    xs = x.flat
    for outer in range(flat.size // max(n * inner, 1)):
        for k in range(n):
            i = (outer * n + (n - 1 - k if reverse else k)) * inner
            last = i + inner if reverse else i - inner
            for c in range(inner):
                flat[i + c] = flat[last + c] * xs[i + c] if k else xs[i + c]
