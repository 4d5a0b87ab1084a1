"""A program under construction whose values are grids of blocks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ckpt.ir.build import Builder, lit
from ckpt.ir.meaning import evaluate
from ckpt.ir.op import Array, Op, make
from ckpt.ir.program import Atom, Lit, Program, Var
from ckpt.ir.types import DType
from ckpt.parts.grid import Block, Cuts, Grid, Index, Splat, places, union

_LARGEST = 1 << 26
"""No mask of more elements is worked out."""
_SHARES = ("broadcast", "permute", "slice")
"""Primitives whose result in NumPy is a view: however large, it takes no memory."""


class Blocks:
    """The program under construction, and what its values are in blocks."""

    def __init__(self, program: Program, unknown: Sequence[bool], constants: Sequence[Any]) -> None:
        self.b = Builder(program.name)
        self.grids: dict[Var, Grid] = {}
        self.late: set[Var] = set()
        self._masks: dict[Var, Array] = {}
        self._whole: dict[Grid, Var] = {}
        self._slices: dict[tuple[Var, Index, Index], Var] = {}
        first = len(program.ins) - len(constants)
        for i, (v, is_late) in enumerate(zip(program.ins, unknown, strict=True)):
            new = self.b.input(v.type, v.name)
            self.grids[v] = Grid.one(v.type, new)
            if is_late:
                self.late.add(new)
            if i >= first and v.type.dtype is DType.BOOL:
                self._masks[new] = np.asarray(constants[i - first])

    def emit(self, op: Op, *ins: Atom) -> Var:
        """A let of one result."""
        out = self.b.emit(op, *ins)
        if any(x in self.late for x in ins):
            self.late.add(out)
        return out

    def whole(self, grid: Grid) -> Var:
        """All blocks in one buffer."""
        found = self._whole.get(grid)
        if found is None:
            found = self.joined(grid.blocks, grid)
            self._whole[grid] = found
        return found

    def joined(self, blocks: Mapping[Index, Block], grid: Grid) -> Var:
        """Some blocks of a grid in one buffer; their places are those of a smaller grid."""
        found = {i: self.stored(block, grid.shape(i)) for i, block in blocks.items()}
        for axis in reversed(range(grid.type.ndim)):
            rows: dict[Index, list[Var]] = {}
            for i in sorted(found):
                rows.setdefault((*i[:axis], 0, *i[axis + 1 :]), []).append(found[i])
            found = {
                i: row[0] if len(row) == 1 else self.emit(make("concatenate", axis=axis), *row)
                for i, row in rows.items()
            }
        (one,) = found.values()
        return one

    def stored(self, block: Block, shape: tuple[int, ...]) -> Var:
        """A block in a buffer."""
        if isinstance(block, Var):
            return block
        return self.emit(make("broadcast", shape=shape, axes=()), block.value)

    def refined(self, grid: Grid, cuts: Cuts) -> Grid:
        """The same value with more cuts."""
        merged = tuple(union(a, b) for a, b in zip(grid.cuts, cuts, strict=True))
        if merged == grid.cuts:
            return grid
        blocks: dict[Index, Block] = {}
        fine = Grid(grid.type, merged, blocks)
        for i in places(merged):
            at = fine.start(i)
            old = tuple(
                max(k for k in range(len(c) - 1) if c[k] <= a or k == 0)
                for c, a in zip(grid.cuts, at, strict=True)
            )
            start = tuple(a - o for a, o in zip(at, grid.start(old), strict=True))
            stop = tuple(s + n for s, n in zip(start, fine.shape(i), strict=True))
            blocks[i] = self.piece(grid.blocks[old], start, stop)
        return fine

    def piece(self, block: Block, start: Index, stop: Index) -> Block:
        """A part of a block; of a mask it may be one scalar."""
        if isinstance(block, Splat) or (start, stop) == ((0,) * len(start), block.type.shape):
            return block
        mask = self._masks.get(block)
        if mask is not None:
            part = mask[tuple(map(slice, start, stop))]
            # along axes that only repeat, one element is enough
            part = part[tuple(slice(None if step else 1) for step in part.strides)]
            if part.size and (part == part.flat[0]).all():
                return Splat(lit(part.flat[0].item(), block.type.dtype))
        found = self._slices.get((block, start, stop))
        if found is None:
            found = self.emit(make("slice", start=start, stop=stop, step=(1,) * len(start)), block)
            self._slices[block, start, stop] = found
        return found

    def settled(self, grid: Grid) -> Grid:
        """The grid, put together where nothing is gained by keeping blocks apart."""
        stages = {v in self.late for v in grid.blocks.values() if isinstance(v, Var)}
        if grid.is_one or len(stages) > 1:
            return grid
        return Grid.one(grid.type, self.whole(grid))

    def look_into(self, op: Op, ins: Sequence[Atom], outs: Sequence[Var]) -> None:
        """Work out integers and masks that are made of nothing else."""
        small = all(v.type.size <= _LARGEST or op.name in _SHARES for v in outs)
        small = small and not any(v.type.dtype.is_float for v in outs)
        known = all(isinstance(x, Lit) or x in self._masks for x in ins)
        if len(outs) != 1 or not small or not known or op.effects:
            return
        values = (
            np.asarray(x.value, x.dtype.numpy) if isinstance(x, Lit) else self._masks[x]
            for x in ins
        )
        (self._masks[outs[0]],) = evaluate(op, *values)
