"""The kernel of `recurrence`."""

from numba import njit

from ckpt.codegen.library.axis import inner_size
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def recurrence(u: Array, a: Array, out: Array, axis: int, reverse: bool) -> None:
    """`h[i] = u[i] + a[i] * h[i-1]` along an axis, in its order or against it."""
    flat, n, inner = out.reshape(-1), out.shape[axis], inner_size(out, axis)
    us, factors = u.flat, a.flat
    for outer in range(flat.size // max(n * inner, 1)):
        for k in range(n):
            i = (outer * n + (n - 1 - k if reverse else k)) * inner
            last = i + inner if reverse else i - inner
            for c in range(inner):
                fresh = us[i + c]
                flat[i + c] = fresh + factors[i + c] * flat[last + c] if k else fresh
