"""The kernel of `zero`."""

from numba import njit

from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def zero(out: Array) -> None:
    """Fill with zeros."""
    out[...] = 0
