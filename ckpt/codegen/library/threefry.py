"""The cipher from which random numbers are made; as `ckpt.ops.random.threefry`, one pair a call."""

import numpy as np
from numba import njit

Word = np.uint64
_ALL = np.uint64(64)
_PARITY = np.uint64(0x1BD11BDAA9FC1A22)
_ROTATIONS = tuple(np.uint64(n) for n in (16, 42, 12, 31, 16, 32, 24, 21))


@njit(error_model="numpy")
def _four_rounds(x: Word, y: Word, turns: tuple[Word, ...]) -> tuple[Word, Word]:
    for turn in turns:
        x += y
        y = ((y << turn) | (y >> (_ALL - turn))) ^ x
    return x, y


@njit(error_model="numpy")
def encipher(k0: Word, k1: Word, first: Word, second: Word) -> tuple[Word, Word]:
    """Encipher a pair of numbers under a key, all u64."""
    k2 = _PARITY ^ k0 ^ k1
    early, late = _ROTATIONS[:4], _ROTATIONS[4:]
    x, y = _four_rounds(first + k0, second + k1, early)
    x, y = _four_rounds(x + k1, y + (k2 + Word(1)), late)
    x, y = _four_rounds(x + k2, y + (k0 + Word(2)), early)
    x, y = _four_rounds(x + k0, y + (k1 + Word(3)), late)
    x, y = _four_rounds(x + k1, y + (k2 + Word(4)), early)
    return x + k2, y + (k0 + Word(5))
