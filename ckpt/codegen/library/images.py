"""Pieces of images for convolution kernels: cut out with their padding, turned into panels, back.

Everything here works on addresses and is compiled once for all dtypes and layouts.
"""

import numpy as np
from numba import njit

from ckpt.codegen.address import add_run, clear, copy_run, read, write

Pair = tuple[int, int]
Triple = tuple[int, int, int]
Four = tuple[int, ...]
Placed = tuple[int, Four, Four]
"""The address, shape and strides in bytes of an array of four axes."""
Blocking = tuple[int, int, int, int]
"""How a convolution is cut: channels that are summed at a time, bytes of a panel, and rows and
images of a strip."""
_LONG_RUN = 64
"""Elements that are copied by a function; fewer by a loop, since calls cost more."""
_PACKED_BYTES = 1 << 15
"""Of panels, so much is filled lane by lane: it stays in the nearest cache."""


@njit(error_model="numpy")
def cut_out(
    item: int, image: int, shape: Triple, strides: Triple, start: Pair, size: Pair, to: int
) -> None:
    """Copy a rectangle of all channels of an image `[c,h,w]`; what lies outside of it is zero.

    Args:
        item: bytes of an element, 4 or 8.
        image: its address.
        shape: c, h and w.
        strides: its strides in bytes.
        start: the first row and column of the rectangle; they may be negative.
        size: rows and columns of the rectangle.
        to: where it goes, `[c, rows, columns]`.
    """
    high, wide = size
    left = min(max(-start[1], 0), wide)
    right = min(max(shape[2] - start[1], left), wide)
    top = min(max(-start[0], 0), high)
    bottom = min(max(shape[1] - start[0], top), high)
    if left > 0 or right < wide or top > 0 or bottom < high:
        clear(to, shape[0] * high * wide * item)
    count = right - left
    first = image + start[0] * strides[1] + (start[1] + left) * strides[2]
    for c in range(shape[0]):
        for i in range(top, bottom):
            source = first + c * strides[0] + i * strides[1]
            place = to + ((c * high + i) * wide + left) * item
            if count >= _LONG_RUN:
                copy_run(item, place, source, count, strides[2])
            elif item == 4:
                for j in range(count):
                    write(read(np.int32(0), source + j * strides[2], 0), place, j)
            else:
                for j in range(count):
                    write(read(np.int64(0), source + j * strides[2], 0), place, j)


@njit(error_model="numpy")
def tabulate(table: int, sizes: Triple, steps: Triple, repeats: int) -> None:
    """Write where the elements of a box are, in order; the last one again, so many times.

    Args:
        table: the address of 64-bit numbers of bytes.
        sizes: of the box.
        steps: bytes from one element to the next along each axis.
        repeats: of the last.
    """
    t, place = 0, 0
    for q in range(sizes[0]):
        for i in range(sizes[1]):
            for j in range(sizes[2]):
                place = q * steps[0] + i * steps[1] + j * steps[2]
                write(place, table, t)
                t += 1
    for _ in range(repeats):
        write(place, table, t)
        t += 1


@njit(error_model="numpy")
def pack(
    item: int, panel: int, source: int, places: int, terms: int, lanes: int, step: int, to: int
) -> None:
    """Fill rows of a panel: element k of row t stands at `source + places[t] + k step`.

    Args:
        item: bytes of an element, 4 or 8.
        panel: bytes of a row.
        source: an address.
        places: the address of a table of bytes from there.
        terms: how many rows.
        lanes: how many elements a row has; the rest of it is zero.
        step: bytes from one to the next.
        to: the address of the first row.
    """
    if lanes * item < panel:
        clear(to, terms * panel)
    chunk = _PACKED_BYTES // panel
    for first in range(0, terms, chunk):
        last = min(first + chunk, terms)
        for k in range(lanes):
            lane, place = source + k * step, to + k * item
            if item == 4:
                for t in range(first, last):
                    value = read(np.int32(0), lane + read(np.int64(0), places, t), 0)
                    write(value, place + t * panel, 0)
            else:
                for t in range(first, last):
                    value = read(np.int64(0), lane + read(np.int64(0), places, t), 0)
                    write(value, place + t * panel, 0)


@njit(error_model="numpy")
def unpack(
    item: int, panel: int, source: int, count: int, lanes: int, to: int, steps: Pair
) -> None:
    """Take panels apart: element k of row t goes to `to + t steps[0] + k steps[1]`."""
    for k in range(lanes):
        lane, place = source + k * item, to + k * steps[1]
        if item == 4:
            for t in range(count):
                write(read(np.int32(0), lane + t * panel, 0), place + t * steps[0], 0)
        else:
            for t in range(count):
                write(read(np.int64(0), lane + t * panel, 0), place + t * steps[0], 0)


@njit(error_model="numpy")
def add_all(item: int, to: int, source: int, n_bytes: int) -> None:
    """Add elements to others."""
    if item == 4:
        add_run(np.float32(0), to, source, n_bytes // 4, 1)
    else:
        add_run(np.float64(0), to, source, n_bytes // 8, 1)


@njit(error_model="numpy")
def aligned(address: int) -> int:
    """The next address that begins a line of the cache."""
    return (address + 63) // 64 * 64
