"""Axes and indices, for kernels that walk arrays in row-major order."""

from numba import njit

from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def inner_size(x: Array, axis: int) -> int:
    """How many elements stand between two neighbours along an axis, in row-major order."""
    size = 1
    for k in range(axis + 1, x.ndim):
        size *= x.shape[k]
    return size


@njit(nogil=True, error_model="numpy")
def place(index: int, n: int) -> int:
    """An index within an axis of length n: from the end when negative, clamped into it."""
    return min(max(index + n if index < 0 else index, 0), n - 1)
