"""A program's table as a driver sees it.

A frame has ten words:

    0 address of the calls, pairs (kernel, record)   1 their number
    2 address of the bases                           3 what went wrong, 0 if nothing
    5 address of the fixed patches                   6 their number
    7 address of the moving patches                  8 their number
    9 how often the program ran

The bases are the addresses of the arena, of the constants, of each input and of each output. A
patch (address of a word, number of a base, offset) says that the word is that base and offset.
"""

import numpy as np
from numba import njit

from ckpt.codegen.address import call, read, write

ARENA, FIRST_INPUT = 0, 2
FIXED, MOVING = 5, 7
WORDS = 10
STATUS, RUNS = 3, 9


@njit(error_model="numpy")
def word(address: int, k: int) -> int:
    """The k-th word from an address."""
    return read(np.int64(0), address, k)


@njit(error_model="numpy")
def put(value: int, address: int, k: int) -> None:
    """Write the k-th word from an address."""
    write(np.int64(value), address, k)


@njit(error_model="numpy")
def put_list(frame: int, first: int, count: int, addresses: int) -> None:
    """Set bases from a list of addresses."""
    bases = word(frame, 2)
    for k in range(count):
        put(word(addresses, k), bases, first + k)


@njit(error_model="numpy")
def put_block(frame: int, first: int, count: int, block: int, offsets: int) -> None:
    """Set bases to the leaves of a block."""
    bases = word(frame, 2)
    for k in range(count):
        put(block + word(offsets, k), bases, first + k)


@njit(error_model="numpy")
def put_slices(frame: int, first: int, count: int, addresses: int, sizes: int, at: int) -> None:
    """Set bases to the slices with number `at` of arrays."""
    bases = word(frame, 2)
    for k in range(count):
        put(word(addresses, k) + at * word(sizes, k), bases, first + k)


@njit(error_model="numpy")
def patch(frame: int, which: int) -> None:
    """Bring the records of a program up to date: its fixed words, or its moving ones."""
    bases, patches = word(frame, 2), word(frame, which)
    for j in range(word(frame, which + 1)):
        put(
            word(bases, word(patches, 3 * j + 1)) + word(patches, 3 * j + 2),
            word(patches, 3 * j),
            0,
        )


@njit(error_model="numpy")
def enter(frame: int, arena: int, consts: int, addresses: int) -> None:
    """Say where the arena and the inputs that stay are."""
    put(arena, word(frame, 2), ARENA)
    put_list(frame, FIRST_INPUT, consts, addresses)
    patch(frame, FIXED)


@njit(error_model="numpy")
def run(frame: int) -> None:
    """Run the program on what the bases say."""
    patch(frame, MOVING)
    calls = word(frame, 0)
    for j in range(word(frame, 1)):
        call(word(calls, 2 * j), word(calls, 2 * j + 1))
    put(word(frame, RUNS) + 1, frame, RUNS)
