"""The part of a matrix product that stands in the registers of this processor while terms pass."""

# llvmlite describes itself to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from typing import Any, NamedTuple

import llvmlite.binding as llvm

MOST_ROWS = 12
"""No tile has more rows."""


class Tile(NamedTuple):
    """What stands in registers: rows, and vectors of so many bytes in each."""

    rows: int
    vectors: int
    vector_bytes: int


def tile_of(panel_bytes: int) -> Tile:
    """The tile that this processor's registers hold, with room for operands.

    Args:
        panel_bytes: of a row of the result that may stand there, 64, 128 or 256; a tile's row is
            a whole part of it.
    """
    features: Any = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        vectors = panel_bytes // 64
        return Tile({1: 12, 2: 8, 4: 5}[vectors], vectors, 64)
    if features.get("avx2"):
        return Tile(5, 2, 32)
    return Tile(5, 2, 16)
