"""Tiles of the matrices that convolution kernels multiply.

A matrix of patches has one row per channel and place of the window, in that order, and one
column per place of the result. It is never whole in memory: a tile of it holds some columns of
some channels. Everything here works on addresses and is compiled once for all dtypes and layouts.
"""

import numpy as np
from numba import njit

from ckpt.codegen.address import add_run, clear, copy_run

Pair = tuple[int, int]
Triple = tuple[int, int, int]
Four = tuple[int, ...]
Placed = tuple[int, Four, Four]
"""The address, shape and strides in bytes of an array of four axes."""
Windows = tuple[Pair, Pair, Pair, Pair]
"""Window, stride, low padding and dilation, each down and across."""


@njit(error_model="numpy")
def clip(start: int, step: int, count: int, n: int) -> Pair:
    """The `t` in [0, count), from first to past the last, with `0 <= start + t step < n`."""
    first = min(max(-(start // step), 0), count)
    last = min(max(-((start - n) // step), first), count)
    return first, last


@njit(error_model="numpy")
def patches(
    spread: bool,
    item: int,
    image: int,
    shape: Triple,
    strides: Triple,
    tile: int,
    some: Triple,
    windows: Windows,
) -> None:
    """Fill a tile from the channels of an image, or, to `spread`, add the tile back to them.

    What a window sees outside of the image is zero, or forgotten.

    Args:
        spread: the direction.
        item: bytes of an element, 4 or 8.
        image: the address of an image `[c,h,w]`.
        shape: its shape.
        strides: its strides in bytes.
        tile: the address of the tile.
        some: the first column of the matrix that stands in the tile, how many columns do, and
            how many columns make a row of the result.
        windows: where windows stand.
    """
    window, stride, low, dilation = windows
    at, count, wide = some
    q = 0
    for c in range(shape[0]):
        for r in range(window[0]):
            for s in range(window[1]):
                row = tile + q * count * item
                q += 1
                i, j, done = at // wide, at % wide, 0
                while done < count:
                    n = min(wide - j, count - done)
                    h = i * stride[0] + r * dilation[0] - low[0]
                    start = j * stride[1] + s * dilation[1] - low[1]
                    first, last = clip(start, stride[1], n, shape[2])
                    if h < 0 or h >= shape[1]:
                        first, last = n, n
                    part = row + done * item
                    inner = part + first * item
                    step = stride[1] * strides[2]
                    line = image + c * strides[0] + h * strides[1]
                    line += (start + first * stride[1]) * strides[2]
                    if spread:
                        if item == 4:
                            add_run(np.float32(0), line, inner, last - first, step // item)
                        else:
                            add_run(np.float64(0), line, inner, last - first, step // item)
                    else:
                        clear(part, first * item)
                        copy_run(item, inner, line, last - first, step)
                        clear(part + last * item, (n - last) * item)
                    done += n
                    i, j = i + 1, 0


@njit(error_model="numpy")
def kernel_matrix(item: int, w: int, shape: Four, strides: Four, spare: int) -> Pair:
    """Address and row length in memory of `w: [k,c,r,s]` as a matrix `[k, c r s]`.

    That is `w` itself where its rows have no gaps, else a copy in spare memory.
    """
    k, c, r, s = shape
    columns = c * r * s
    gapless = strides[3] == item and strides[2] == s * item and strides[1] == r * s * item
    if gapless and strides[0] % item == 0 and strides[0] >= columns * item:
        return w, strides[0] // item
    to = spare
    for ki in range(k):
        for ci in range(c):
            for ri in range(r):
                line = w + ki * strides[0] + ci * strides[1] + ri * strides[2]
                copy_run(item, to, line, s, strides[3])
                to += s * item
    return spare, columns


@njit(error_model="numpy")
def result_matrix(item: int, y: int, k: int, strides: Triple, spare: int, some: Triple) -> Pair:
    """Address and row length in memory of some columns of `y: [k,i,j]` as a matrix `[k, i j]`.

    That is `y` itself where its rows have no gaps, else a copy in spare memory. `some` is the
    first column, how many there are, and how many make a row of the image.
    """
    at, count, wide = some
    gapless = strides[2] == item and strides[1] == wide * item
    if gapless and strides[0] % item == 0 and strides[0] >= count * item:
        return y + at * item, strides[0] // item
    to = spare
    for ki in range(k):
        i, j, done = at // wide, at % wide, 0
        while done < count:
            n = min(wide - j, count - done)
            line = y + ki * strides[0] + i * strides[1] + j * strides[2]
            copy_run(item, to, line, n, strides[2])
            to += n * item
            done += n
            i, j = i + 1, 0
    return spare, count
