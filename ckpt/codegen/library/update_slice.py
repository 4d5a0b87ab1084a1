"""The kernel of `update_slice`."""

from numba import njit

from ckpt.codegen.library.window import Ints, window_of
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def update_slice(x: Array, u: Array, out: Array, offset: int, strides: Ints) -> None:
    """Copy `x`, unless it is in place already, then `u` into the window."""
    if x.ctypes.data != out.ctypes.data:
        out[...] = x
    if u.size:
        window_of(out, u.shape, offset, strides)[...] = u
