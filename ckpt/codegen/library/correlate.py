"""What `conv` and `conv_input` share: every place of the result is a sum over channels and spots.

A strip of places is worked on at a time, for as many results as a panel holds. The part of the
images that the strip sees is cut out with its padding, channel block by channel block, and read
where it stands (`gathered_product`).
"""

import numpy as np
from numba import njit

from ckpt.codegen.address import clear, read, write
from ckpt.codegen.gathered import gathered_product
from ckpt.codegen.library.images import (
    Blocking,
    Four,
    Placed,
    aligned,
    cut_out,
    pack,
    tabulate,
    unpack,
)
from ckpt.codegen.registers import MOST_ROWS

Axis = tuple[int, int, int, int, int]
"""How places see an image along an axis: where the first one begins to look, steps from one to the
next, how far a place sees, and how many spots it sees; the address of a table of pairs: how far a
spot lies from where a place begins to look, and bytes to its weight."""


@njit(error_model="numpy")
def correlate(
    item: int,
    images: Placed,
    weights: tuple[int, Four],
    out: Placed,
    axes: tuple[Axis, Axis],
    channels: tuple[int, int, int],
    blocking: Blocking,
    scratch: int,
) -> None:
    """Write the sums of all places.

    Args:
        item: bytes of an element, 4 or 8.
        images: what is seen, `[n,groups*inner,h,w]`.
        weights: their address; bytes from one group to the next, from result to result within a
            group, from channel to channel, and unused.
        out: `[n,groups*outer,i,j]`.
        axes: how places see the images, down and across.
        channels: inner, outer and groups.
        blocking: how the work is cut.
        scratch: memory.
    """
    (x, x_shape, x_step), (w, w_step), (y, y_shape, y_step) = images, weights, out
    down, across = axes
    inner, outer, groups = channels
    block, panel, rows, together = blocking
    wide = y_shape[3]
    tile_wide = (wide - 1) * across[1] + across[2] + 1
    spots = down[3] * across[3]
    places = together * min(rows, y_shape[2]) * wide
    bases = aligned(scratch)
    offsets = aligned(bases + 8 * (places + MOST_ROWS))
    seen = offsets + 8 * block * spots
    a = aligned(seen + 8 * block * spots)
    acc = a + block * spots * panel
    tile = acc + (places + MOST_ROWS) * panel
    steps = (x_step[1], x_step[2], x_step[3])
    lanes = panel // item
    for n in range(0, x_shape[0], together):
        some = min(together, x_shape[0] - n)
        for i in range(0, y_shape[2], rows):
            high = min(rows, y_shape[2] - i)
            tile_high = (high - 1) * down[1] + down[2] + 1
            start = (down[0] + i * down[1], across[0])
            plane = tile_high * tile_wide * item
            count = some * high * wide
            for group in range(groups):
                for k in range(0, outer, lanes):
                    results = min(lanes, outer - k)
                    clear(acc, (count + MOST_ROWS) * panel)
                    for c in range(0, inner, block):
                        part = min(block, inner - c)
                        line = tile_wide * item
                        paces = (part * plane, down[1] * line, across[1] * item)
                        tabulate(bases, (some, high, wide), paces, MOST_ROWS)
                        lines = (part, plane, line, item)
                        _offsets(offsets, seen, lines, w_step[2], axes)
                        for q in range(some):
                            image = x + (n + q) * x_step[0] + (group * inner + c) * x_step[1]
                            shape = (part, x_shape[2], x_shape[3])
                            size, to = (tile_high, tile_wide), tile + q * part * plane
                            cut_out(item, image, shape, steps, start, size, to)
                        first = w + group * w_step[0] + k * w_step[1] + c * w_step[2]
                        pack(item, panel, first, seen, part * spots, results, w_step[1], a)
                        tables = (bases, offsets)
                        gathered_product(item, panel, (count, part * spots), a, tile, tables, acc)
                    for q in range(some):
                        for row in range(high):
                            to = y + (n + q) * y_step[0] + (group * outer + k) * y_step[1]
                            to += (i + row) * y_step[2]
                            source = acc + (q * high + row) * wide * panel
                            unpack(item, panel, source, wide, results, to, (y_step[3], y_step[1]))


@njit(error_model="numpy")
def _offsets(offsets: int, seen: int, lines: Four, channel: int, axes: tuple[Axis, Axis]) -> None:
    """For each channel and spot, how far it is from where a place begins, and its weight."""
    part, plane, line, item = lines
    down, across = axes
    t = 0
    for c in range(part):
        for r in range(down[3]):
            high, of_row = read(np.int64(0), down[4], 2 * r), read(np.int64(0), down[4], 2 * r + 1)
            for s in range(across[3]):
                wide = read(np.int64(0), across[4], 2 * s)
                of_spot = read(np.int64(0), across[4], 2 * s + 1)
                write(c * plane + high * line + wide * item, offsets, t)
                write(c * channel + of_row + of_spot, seen, t)
                t += 1
