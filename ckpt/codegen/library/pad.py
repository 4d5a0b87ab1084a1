"""The kernel of `pad`."""

from numba import njit

from ckpt.codegen.library.window import Ints, write_window
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def pad(x: Array, out: Array, offset: int, strides: Ints) -> None:
    """Fill with zeros, then copy `x` into the window."""
    out[...] = 0
    write_window(x, out, offset, strides)
