"""The kernel of `cholesky`: LAPACK on the memory of the result."""

import numpy as np
from numba import njit

from ckpt.codegen.address import clear, copy_run, read, write
from ckpt.codegen.blas import potrf
from ckpt.codegen.library.matrices import batch_size, offset_of
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def cholesky(a: Array, l: Array) -> None:
    """The Cholesky factor of each matrix of `a`; NaN where it is not positive definite."""
    _cholesky(a.itemsize, a.ctypes.data, a.shape, a.strides, l.ctypes.data)


@njit(error_model="numpy")
def _cholesky(item: int, a: int, shape: tuple[int, ...], strides: tuple[int, ...], l: int) -> None:
    size = shape[-1]
    for n in range(batch_size(shape)):
        matrix, to = a + offset_of(n, shape, strides), l + n * size * size * item
        for i in range(size):
            row = to + i * size * item
            copy_run(item, row, matrix + i * strides[-2], i + 1, strides[-1])
            clear(row + (i + 1) * item, (size - i - 1) * item)
        if not potrf(item, size, (to, size)) or _has_nan(item, size, to):
            for i in range(size * size):
                if item == 4:
                    write(np.float32(np.nan), to, i)
                else:
                    write(np.float64(np.nan), to, i)


@njit(error_model="numpy")
def _has_nan(item: int, size: int, l: int) -> bool:
    """Whether there is a NaN on the diagonal: where any element is NaN, that of its row is."""
    for i in range(size):
        at = i * size + i
        if np.isnan(read(np.float32(0), l, at) if item == 4 else read(np.float64(0), l, at)):
            return True
    return False
