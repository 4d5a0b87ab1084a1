"""Matrix products in register tiles of our own: which they are, their parts, and their scratch.

A kernel copies a block of the left operand and a panel of the right one to where they follow one
another, and sums `TERMS` at a time:

    out[i,j] = Σ_s (Σ_{t in block s} left[i,t] right[t,j])

Inner sums are chains of fused multiplications and additions in order, outer sums are in order too,
so that bits depend on nothing but `k`: not on parts, threads or the processor.
"""

from ckpt.cost.contraction import Product
from ckpt.ir.cuts import cuts
from ckpt.ir.types import DType

TERMS = 256
"""Summed before they are added to the others."""

ROWS = 256
"""Of the left operand, copied at a time."""

PANEL_BYTES = 256
"""Of a row of a panel: its columns are worked on together."""

GAP_BYTES = 64
"""Between the lines of a block, so that they do not all fall into the same sets of a cache."""

MOST_TILE_ROWS = 12
"""Of the result, that stand in registers at a time, at most."""

_LEAST = 128
"""Rows and terms of a product that is worth the copies, and columns of each part."""

_ROOM = 6
"""Scratch of all parts is at most this fraction of the bytes of operands and result."""

_PART_FLOPS = (16e6, 256e6, 4096e6)
"""From so many on, a product is cut into two, four, eight parts."""


def spans(form: Product, dtype: DType) -> list[tuple[int, int]]:
    """The columns of each part, or nothing where BLAS is asked: decided by shapes alone.

    Args:
        form: of the product.
        dtype: of its elements.
    """
    if dtype is not DType.F32 or any(n != 1 for n in form.left.batch.sizes):
        return []
    nbytes = dtype.itemsize * (form.m * form.k + form.k * form.n + form.m * form.n)
    room = nbytes // (_ROOM * part_bytes(form, dtype))
    if min(form.m, form.k, form.n // 2) < _LEAST or room < 2:
        return []
    parts = 1 << sum(2.0 * form.m * form.n * form.k >= flops for flops in _PART_FLOPS)
    return cuts(form.n, min(parts, room, form.n // _LEAST), PANEL_BYTES // dtype.itemsize)


def part_bytes(form: Product, dtype: DType) -> int:
    """Scratch of one part: a panel, what sticks out of the result, and a block.

    A block's lines are rows of the left operand, or their terms if it is stored the other way.
    """
    turned = (form.left.matrix() or (0, False))[1]
    lines, length = (min(form.k, TERMS), ROWS) if turned else (min(form.m, ROWS), TERMS)
    fixed = (TERMS + MOST_TILE_ROWS) * PANEL_BYTES
    return fixed + lines * (length * dtype.itemsize + GAP_BYTES)
