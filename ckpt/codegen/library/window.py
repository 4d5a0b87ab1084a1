"""Strided windows into results, for kernels that write a part of them."""

from numba import njit
from numba.cpython.unsafe.tuple import tuple_setitem
from numpy.lib.stride_tricks import as_strided

from ckpt.ir.op import Array

Ints = tuple[int, ...]


@njit(nogil=True, error_model="numpy")
def window_of(out: Array, shape: Ints, offset: int, strides: Ints) -> Array:
    """The part of contiguous `out` at an offset with strides, both counted in elements."""
    steps = strides
    for i in range(len(strides)):
        steps = tuple_setitem(steps, i, strides[i] * out.itemsize)  # pyright: ignore[reportCallIssue]
    return as_strided(out.reshape(-1)[offset:], shape, steps)
