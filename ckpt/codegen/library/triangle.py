"""The kernel of `triangle`."""

from numba import njit

from ckpt.codegen.address import clear, copy_run
from ckpt.codegen.library.matrices import batch_size, offset_of
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def triangle(x: Array, y: Array, keeps_lower: bool, k: int) -> None:
    """Copy a triangle of each matrix of `x`, up to or from its k-th diagonal."""
    _triangle(x.itemsize, x.ctypes.data, x.shape, x.strides, y.ctypes.data, keeps_lower, k)


@njit(error_model="numpy")
def _triangle(
    item: int,
    x: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    y: int,
    keeps_lower: bool,
    k: int,
) -> None:
    rows, columns = shape[-2], shape[-1]
    across, along = strides[-2], strides[-1]
    to = y
    for n in range(batch_size(shape)):
        matrix = x + offset_of(n, shape, strides)
        for i in range(rows):
            line = matrix + i * across
            edge = min(max(i + k + int(keeps_lower), 0), columns)
            rest = columns - edge
            if keeps_lower:
                copy_run(item, to, line, edge, along)
                clear(to + edge * item, rest * item)
            else:
                clear(to, edge * item)
                copy_run(item, to + edge * item, line + edge * along, rest, along)
            to += columns * item
