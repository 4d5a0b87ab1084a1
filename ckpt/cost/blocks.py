"""Where a blocked kernel keeps what it needs while it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ckpt.cost.aligned import aligned
from ckpt.cost.contraction import Axes, Operand
from ckpt.ir.kernel import REACH, Blocks, Multiply, Tile
from ckpt.ir.layout import Layout
from ckpt.ir.types import DType, Type


@dataclass(frozen=True, slots=True)
class Places:
    """Bytes from the start of the scratch memory of one let.

    Attributes:
        scratch: of each scratch array of the first part.
        part_bytes: from there to those of the next part.
        packed: of each operand that BLAS cannot read where it stands: it is copied once.
        nbytes: of all of it.
    """

    scratch: tuple[int, ...]
    part_bytes: int
    packed: dict[int, int]
    nbytes: int


def places_of(kernel: Blocks, types: Sequence[Type], layouts: Sequence[Layout]) -> Places:
    """Lay out the scratch memory of a blocked kernel, every array at a multiple of 64 bytes."""
    used = 0

    def place(nbytes: int) -> int:
        nonlocal used
        at = aligned(used)
        used = at + nbytes
        return at

    scratch = tuple(place(prod(shape) * DType(t).itemsize) for shape, t in kernel.scratch)
    part_bytes = aligned(used)
    used = part_bytes * kernel.cut[1]
    packed: dict[int, int] = {}
    for step in kernel.steps:
        for tile in (step.left, step.right) if isinstance(step, Multiply) else ():
            number = tile.array
            readable = number >= len(types) or number in packed
            if not readable and not _is_matrix(tile, kernel, types[number], layouts[number]):
                packed[number] = place(types[number].nbytes)
    return Places(scratch, part_bytes, packed, used)


def _is_matrix(tile: Tile, kernel: Blocks, t: Type, layout: Layout) -> bool:
    """Whether BLAS can read a tile where it stands."""
    none = Axes((), ())
    kept = [
        Axes((t.shape[axis],), (layout.strides[axis],))
        for axis, loop in enumerate(tile.along)
        if loop is None or loop == REACH or kernel.turns[loop][1]
    ]
    return Operand(none, *kept).matrix() is not None
