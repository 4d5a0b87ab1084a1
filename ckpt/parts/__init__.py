"""Partially static arrays: rows that are known and rows that are not, in one array.

`concatenate` makes one array of a known and an unknown one, and all that is made of it would be
unknown. This pass keeps them apart: a value is a grid of blocks, each known or not, through
everything that works block by block, and is put together only where an op needs it whole.

    grid     a value as a grid of blocks
    blocks   a program under construction whose values are grids
    rules    the primitives that work block by block
    parted   the pass

It runs before a split, and only there: sums and matrix products of blocks may round differently
from those of the whole.
"""

from ckpt.parts.parted import parted

__all__ = ["parted"]
