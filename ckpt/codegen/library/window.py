"""Strided windows into results, for kernels that write a part of them."""

from numba import njit

from ckpt.ir.op import Array

Ints = tuple[int, ...]


@njit(nogil=True, error_model="numpy")
def write_window(x: Array, out: Array, offset: int, strides: Ints) -> None:
    """Write `x` into contiguous `out`, at an offset with strides counted in elements."""
    if x.size == 0:
        return
    flat, xs = out.reshape(-1), x.flat
    last = x.ndim - 1
    n, step = x.shape[last], strides[last]
    for row in range(x.size // n):
        at, rest = offset, row
        for k in range(last - 1, -1, -1):
            at += rest % x.shape[k] * strides[k]
            rest //= x.shape[k]
        for i in range(n):
            flat[at + i * step] = xs[row * n + i]
