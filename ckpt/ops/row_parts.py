"""Library kernels whose rows along axis 0 have nothing to do with one another, cut for threads."""

from collections.abc import Sequence
from dataclasses import replace

from ckpt.ir.cuts import cuts
from ckpt.ir.kernel import Library, Part
from ckpt.ir.types import Type

_PART_BYTES = 1 << 17
"""A part reads and writes at least so many."""


def row_parts(kernel: Library, ins: Sequence[Type], outs: Sequence[Type]) -> Library:
    """The same kernel with parts that work on some rows each.

    Args:
        kernel: without parts; its scratch is what any number of rows needs.
        ins: operands, all as long as the results along axis 0.
        outs: results.

    >>> from ckpt.ir.types import DType
    >>> images = Type((16, 64, 32, 32), DType.F32)
    >>> [part.pieces[0] for part in row_parts(Library("copy"), [images], [images]).parts][:2]
    [((0, 0, 2),), ((0, 2, 4),)]
    """
    arrays = (*ins, *outs)
    found = cuts(outs[0].shape[0], sum(t.nbytes for t in arrays) / _PART_BYTES)
    if len(found) < 2:
        return kernel
    parts = tuple(Part((((0, *rows),),) * len(arrays), kernel.params) for rows in found)
    return replace(kernel, scratch_bytes=kernel.scratch_bytes * len(parts), parts=parts)
