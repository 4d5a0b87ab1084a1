"""The kernel of `key_split`."""

import numpy as np
from numba import njit

from ckpt.codegen.library.threefry import encipher
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def key_split(key: Array, out: Array) -> None:
    """Enciphered numbers of the kind that keys are made of."""
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for i in range(out.shape[0]):
        x, y = encipher(k0, k1, np.uint64(i), np.uint64(1))
        out[i, 0], out[i, 1] = np.int64(x), np.int64(y)
