"""Where a loop keeps states: blocks, and the tape that goes from its first sweep to its reverse.

A state of a loop (its carry) stands in one block, each leaf at an offset. A tape is an opaque
array of 64-bit words:

    steps, depth, (start, length) of each slot | a block per kept state | the last state

`steps` is how many the loop made; slot 0 is the initial state, which is an operand and has no
block; slot `d` holds the state before step `start[d]`, and `length[d]` steps are run back from it.

Large leaves and blocks are padded by an odd number of cache lines, five at least: where many
arrays start at the same place of a 4096-byte page they push each other out of the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.ir.types import DType, Type

_LINE = 64
_LINES_A_PAGE = 64
_LARGE_LINES = 256


@dataclass(frozen=True, slots=True)
class Block:
    """One state in memory.

    Attributes:
        offsets: of each leaf, in bytes from the start of the block.
        nbytes: of the block.
    """

    offsets: tuple[int, ...]
    nbytes: int


def block_of(types: Sequence[Type]) -> Block:
    """The block for leaves of these types.

    >>> from ckpt.ir.types import DType, Type
    >>> block_of([Type((3,), DType.F64), Type((), DType.I64)])
    Block(offsets=(0, 64), nbytes=128)
    """
    offsets: list[int] = []
    lines = 0
    for t in types:
        offsets.append(lines * _LINE)
        lines += _lines(-(-t.nbytes // _LINE))
    return Block(tuple(offsets), _lines(lines) * _LINE)


def tape_type(types: Sequence[Type], slots: int) -> Type:
    """The type of a tape for states of these types, the initial one among the slots."""
    words = header_words(slots) + slots * block_of(types).nbytes // 8
    return Type((words,), DType.I64)


def header_words(slots: int) -> int:
    """Words before the first block, a whole number of cache lines."""
    return -(-(2 + 2 * slots) // 8) * 8


def _lines(n: int) -> int:
    if n >= _LARGE_LINES:
        while n % 2 == 0 or n % _LINES_A_PAGE < 5:
            n += 1
    return n
