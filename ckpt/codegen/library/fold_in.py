"""The kernel of `fold_in`."""

import numpy as np
from numba import njit

from ckpt.codegen.library.threefry import encipher
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def fold_in(key: Array, number: Array, out: Array) -> None:
    """An enciphered number."""
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    x, y = encipher(k0, k1, np.uint64(number[()]), np.uint64(2))
    out[0], out[1] = np.int64(x), np.int64(y)
