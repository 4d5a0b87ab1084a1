"""The kernel of `update_slice`."""

from numba import njit

from ckpt.codegen.library.base import start_from
from ckpt.codegen.library.window import Ints, write_window
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def update_slice(x: Array, u: Array, out: Array, offset: int, strides: Ints) -> None:
    """Copy `x`, unless it is in place already, then `u` into the window."""
    start_from(x, out)
    write_window(u, out, offset, strides)
