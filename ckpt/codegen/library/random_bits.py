"""The kernel of `random_bits`."""

import numpy as np
from numba import njit

from ckpt.codegen.address import write
from ckpt.codegen.library.threefry import encipher
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def random_bits(key: Array, out: Array, bits: int) -> None:
    """Enciphered numbers, cut into elements of 32 or 64 bits."""
    _random_bits(np.uint64(key[0]), np.uint64(key[1]), out.ctypes.data, out.size, bits)


@njit(error_model="numpy")
def _random_bits(k0: np.uint64, k1: np.uint64, out: int, size: int, bits: int) -> None:
    whole = size * bits // 128
    for i in range(whole):
        x, y = encipher(k0, k1, np.uint64(i), np.uint64(0))
        write(x, out, 2 * i)
        write(y, out, 2 * i + 1)
    x, y = encipher(k0, k1, np.uint64(whole), np.uint64(0))
    at = whole * 128 // bits
    if bits == 64:
        if at < size:
            write(x, out, at)
        return
    for i in range(size - at):
        word = x if i < 2 else y
        write(np.uint32(word >> np.uint64(32 * (i % 2))), out, at + i)
