"""The kernel of `conv_kernel`: each weight is a sum over the places of all images.

A block of channels is held at a time, for as many results as a panel holds. Sums of strips of
places are added one after the other: that is also more exact than one long sum.
"""

from numba import njit

from ckpt.codegen.address import clear
from ckpt.codegen.gathered import gathered_product
from ckpt.codegen.library.images import (
    Blocking,
    Pair,
    Placed,
    add_all,
    aligned,
    cut_out,
    pack,
    tabulate,
    unpack,
)
from ckpt.codegen.registers import MOST_ROWS
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def conv_kernel(
    x: Array,
    y: Array,
    w: Array,
    scratch: Array,
    stride: Pair,
    low: Pair,
    dilation: Pair,
    groups: int,
    between: int,
    blocking: Blocking,
) -> None:
    """Correlate `x` with `y`; `between` is how many elements of w lie from a result to the next."""
    images = (x.ctypes.data, x.shape, x.strides)
    results = (y.ctypes.data, y.shape, y.strides)
    weights = (w.ctypes.data, w.shape, (between * x.itemsize, 0, 0, 0))
    how = (stride, low, dilation)
    _conv_kernel(x.itemsize, images, results, weights, how, groups, blocking, scratch.ctypes.data)


@njit(error_model="numpy")
def _conv_kernel(
    item: int,
    images: Placed,
    results: Placed,
    weights: Placed,
    how: tuple[Pair, Pair, Pair],
    groups: int,
    blocking: Blocking,
    scratch: int,
) -> None:
    (x, x_shape, x_step), (y, y_shape, y_step), (w, shape, w_step) = images, results, weights
    stride, low, dilation = how
    block, panel, rows, together = blocking
    inner, outer, lanes = shape[1], shape[0] // groups, panel // item
    spots = shape[2] * shape[3]
    reach = ((shape[2] - 1) * dilation[0], (shape[3] - 1) * dilation[1])
    wide = y_shape[3]
    tile_wide = (wide - 1) * stride[1] + reach[1] + 1
    places = together * min(rows, y_shape[2]) * wide
    offsets = aligned(scratch)
    seen = offsets + 8 * places
    bases = seen + 8 * places
    a = aligned(bases + 8 * (block * spots + MOST_ROWS))
    acc = a + places * panel
    sums = acc + (block * spots + MOST_ROWS) * panel
    tile = sums + block * spots * panel
    steps = (x_step[1], x_step[2], x_step[3])
    for group in range(groups):
        for c in range(0, inner, block):
            part = min(block, inner - c)
            size, n_bytes = part * spots, part * spots * panel
            for k in range(0, outer, lanes):
                count = min(lanes, outer - k)
                clear(sums, n_bytes)
                for n in range(0, x_shape[0], together):
                    some = min(together, x_shape[0] - n)
                    for i in range(0, y_shape[2], rows):
                        high = min(rows, y_shape[2] - i)
                        tile_high = (high - 1) * stride[0] + reach[0] + 1
                        plane = tile_high * tile_wide * item
                        strip, line = (some, high, wide), tile_wide * item
                        paces = (part * plane, stride[0] * line, stride[1] * item)
                        tabulate(offsets, strip, paces, 0)
                        tabulate(seen, strip, (y_step[0], y_step[2], y_step[3]), 0)
                        window = (part, shape[2], shape[3])
                        apart = (plane, dilation[0] * line, dilation[1] * item)
                        tabulate(bases, window, apart, MOST_ROWS)
                        start = (i * stride[0] - low[0], -low[1])
                        for q in range(some):
                            image = x + (n + q) * x_step[0] + (group * inner + c) * x_step[1]
                            image_shape = (part, x_shape[2], x_shape[3])
                            to = tile + q * part * plane
                            rectangle = (tile_high, tile_wide)
                            cut_out(item, image, image_shape, steps, start, rectangle, to)
                        first = y + n * y_step[0] + (group * outer + k) * y_step[1]
                        first += i * y_step[2]
                        terms = some * high * wide
                        pack(item, panel, first, seen, terms, count, y_step[1], a)
                        clear(acc, n_bytes)
                        tables = (bases, offsets)
                        gathered_product(item, panel, (size, terms), a, tile, tables, acc)
                        add_all(item, sums, acc, n_bytes)
                to = w + (group * outer + k) * w_step[0] + c * spots * item
                unpack(item, panel, sums, size, count, to, (item, w_step[0]))
