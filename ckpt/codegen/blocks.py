"""A blocked let as one call: tiles become addresses that move, and sizes that shrink at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ckpt.codegen.kernels import (
    HOW_TO_CUT,
    BlocksKernel,
    MapKernel,
    Part,
    ProductKernel,
    ReachKernel,
    ReduceKernel,
)
from ckpt.codegen.record import Address, Call, Word
from ckpt.cost.contraction import Axes as Group
from ckpt.cost.contraction import Operand
from ckpt.ir.axes import inner_pattern
from ckpt.ir.kernel import REACH, Apply, Axes, Blocks, Clear, Combine, Multiply, Reach, Tile
from ckpt.ir.layout import Layout
from ckpt.ir.types import DType, Type

_SAME = ("same", 0)


@dataclass(frozen=True, slots=True)
class Placed:
    """An operand, result or scratch array: where it starts and how it is walked through."""

    address: Address
    type: Type
    strides: tuple[int, ...]

    @staticmethod
    def contiguous(address: Address, t: Type) -> "Placed":
        """An array in row-major order."""
        return Placed(address, t, Layout.contiguous(t.shape).strides)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a part's record: its form, and what stands for it in the record of the whole."""

    form: tuple[str, int]
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A tile: its address, and length and stride of each of its axes (0 where it is repeated)."""

    address: _Word
    dtype: DType
    lengths: tuple[int, ...]
    sizes: tuple[_Word, ...]
    strides: tuple[int, ...]

    def along(self, axes: Axes, rank: int) -> tuple[int, ...]:
        """Its strides in a loop of that rank: each of its axes is walked by one, or by none."""
        strides = [0] * rank
        for axis, stride in zip(axes, self.strides, strict=True):
            if axis >= 0:
                strides[axis] = stride
        return tuple(strides)


def blocks_call(
    kernel: Blocks, arrays: Sequence[Placed], first_scratch: int, part_bytes: int
) -> Call:
    """The call of a blocked kernel.

    Args:
        kernel: what it does.
        arrays: operands, results, scratch.
        first_scratch: the number of the first scratch array.
        part_bytes: of scratch, if the call is cut.
    """
    words: list[Word] = [*kernel.cut, part_bytes]
    words += [-(-length // (block or 1)) for length, block in kernel.turns]
    parts: list[tuple[Part, tuple[tuple[str, int], ...]]] = []
    lowering = _Lowering(kernel, arrays, first_scratch)
    for step in kernel.steps:
        match step:
            case Multiply():
                part, record = lowering.multiply(step)
            case Clear():
                part, record = lowering.clear(step)
            case Reach():
                part, record = lowering.reach(step)
            case Apply():
                part, record = lowering.apply(step)
            case Combine():
                part, record = lowering.combine(step)
        parts.append((part, tuple(word.form for word in record)))
        words += [w for word in record for w in word.words]
    return Call(BlocksKernel(len(kernel.turns), tuple(parts)), tuple(words))


@dataclass(frozen=True, slots=True)
class _Lowering:
    kernel: Blocks
    arrays: Sequence[Placed]
    first_scratch: int

    def tile(self, tile: Tile) -> _Part:
        """Where a tile stands in each turn, and how large it is."""
        array, turns = self.arrays[tile.array], self.kernel.turns
        moves = [0] * len(turns)
        lengths: list[int] = []
        sizes: list[_Word] = []
        strides: list[int] = []
        shape = array.type.shape
        for n, stride, loop in zip(shape, array.strides, tile.along, strict=True):
            if loop is None or loop == REACH:
                size = self.counted() if loop == REACH and n > 1 else _same(n)
            else:
                length, block = turns[loop]
                if n > 1 and tile.array < self.first_scratch:
                    moves[loop] += stride * (block or 1) * array.type.dtype.itemsize
                if block == 0:
                    continue
                rest = n > 1 and length % block
                size = _Word(("rest", loop), (length, block)) if rest else _same(min(n, block))
            lengths.append(n)
            sizes.append(size)
            strides.append(stride if n > 1 else 0)
        address = _same(array.address)
        if any(moves):
            address = _Word(("moves", 0), (array.address, *moves))
        dtype = array.type.dtype
        return _Part(address, dtype, tuple(lengths), tuple(sizes), tuple(strides))

    def multiply(self, step: Multiply) -> tuple[ProductKernel, list[_Word]]:
        """One product; all three tiles have two axes, and rows of the result have no gaps."""
        out, left, right = (self.tile(t) for t in (step.out, step.left, step.right))
        rows, summed = (1, 0) if step.swapped[0] else (0, 1)
        columns = 0 if step.swapped[1] else 1
        m, k, n = left.sizes[rows], left.sizes[summed], right.sizes[columns]
        leading: list[_Word] = [_same(max(1, out.strides[0] or out.lengths[1]))]
        flags: list[_Word] = []
        for side, free in ((left, rows), (right, columns)):
            other = 1 - free
            groups = [Group((side.lengths[a],), (side.strides[a],)) for a in (free, other)]
            matrix = Operand(Group((), ()), *groups).matrix()
            assert matrix is not None
            leading.append(_same(matrix[0]))
            # left rows are free axes: transposed if summed ones are far apart
            flags.append(_same(int(matrix[1] if side is left else not matrix[1])))
        record = [out.address, left.address, right.address, m, n, k, *leading, *flags]
        return ProductKernel(out.dtype), [*record, _same(int(step.adds))]

    def clear(self, step: Clear) -> tuple[ProductKernel, list[_Word]]:
        """A product that sums nothing: BLAS writes zeros."""
        out = self.tile(step.out)
        rows, columns = out.sizes
        once = _Word(("once", step.loop), rows.words)
        leading = [_same(max(1, out.strides[0] or out.lengths[1])), _same(1), columns]
        record = [*(out.address,) * 3, once, columns, _same(0), *leading, *(_same(0),) * 3]
        return ProductKernel(out.dtype), record

    def reach(self, step: Reach) -> tuple[ReachKernel, list[_Word]]:
        """A search through the rows of a mask."""
        cell, mask, fill = (self.tile(t) for t in (step.cell, step.mask, step.fill))
        log_sum = None if step.log_sum is None else self.tile(step.log_sum)
        rows = mask.sizes[0] if log_sum is None else log_sum.sizes[0]
        record = [cell.address, mask.address, fill.address]
        record += [_same(0) if log_sum is None else log_sum.address]
        record += [rows, _same(step.columns), *map(_same, mask.strides)]
        return ReachKernel(fill.dtype, log_sum is not None), record

    def counted(self) -> _Word:
        """How many columns are in use."""
        (cell,) = (step.cell for step in self.kernel.steps if isinstance(step, Reach))
        return _Word(("held", 0), (self.arrays[cell.array].address,))

    def apply(self, step: Apply) -> tuple[MapKernel, list[_Word]]:
        """A map over the axes of the result's tile, none of them merged."""
        out, ins = self.tile(step.out), [self.tile(t) for t in step.ins]
        rank = len(out.strides)
        strides = [tuple(s or 1 for s in out.strides)]  # along an axis of length one, any will do
        strides += [x.along(a, rank) for x, a in zip(ins, step.axes, strict=True)]
        dtypes = tuple(x.dtype for x in ins)
        inner = inner_pattern(strides)
        record = [x.address for x in (out, *ins)]
        record += [*out.sizes, *(_same(s) for of in strides for s in of)]
        return MapKernel(step.code, dtypes, (out.dtype,), rank, inner), record

    def combine(self, step: Combine) -> tuple[ReduceKernel, list[_Word]]:
        """A reduction along the last axis of the first operand's tile."""
        out, ins = self.tile(step.out), [self.tile(t) for t in step.ins]
        rank = len(ins[0].strides)
        strides = [x.along(a, rank) for x, a in zip(ins, step.axes, strict=True)]
        inner = inner_pattern([s[-1:] for s in strides])
        dtypes = tuple(x.dtype for x in ins)
        kernel = ReduceKernel(step.code, step.element, dtypes, out.dtype, rank - 1, 1, False, inner)
        record = [x.address for x in (out, *ins)]
        record += [*ins[0].sizes, *map(_same, out.strides)]
        record += [_same(s) for of in strides for s in of]
        return kernel, record


def _same(word: Word) -> _Word:
    return _Word(_SAME, (word,))


def parts_of(call: Call) -> list[Call]:
    """The calls into which a call of a blocked kernel may be cut, to run at the same time.

    Each does some turns of one loop, with scratch of its own. How it is cut follows from shapes.
    """
    kernel = call.kernel
    assert isinstance(kernel, BlocksKernel)
    loop, n_parts, part_bytes = (w for w in call.words[:HOW_TO_CUT] if isinstance(w, int))
    turns = call.words[HOW_TO_CUT + loop]
    assert isinstance(turns, int)
    bounds = [turns * i // n_parts for i in range(n_parts + 1)]
    return [
        Call(kernel, _cut(call, loop, bounds[i : i + 2], i * part_bytes)) for i in range(n_parts)
    ]


def _cut(call: Call, loop: int, bounds: Sequence[int], scratch: int) -> tuple[Word, ...]:
    """The words of one part: some turns of a loop, with scratch so many bytes further on."""
    kernel = call.kernel
    assert isinstance(kernel, BlocksKernel)
    part_bytes = call.words[2]
    assert isinstance(part_bytes, int)
    words = list(call.words)
    words[HOW_TO_CUT + loop] = bounds[1] - bounds[0]
    at = HOW_TO_CUT + kernel.loops
    for form, _ in (form for _, forms in kernel.parts for form in forms):
        word = words[at]
        if isinstance(word, Address):
            step = words[at + 1 + loop] if form == "moves" else 0
            assert isinstance(step, int)
            own = word.kind == "scratch" and word.offset < part_bytes
            further = bounds[0] * step + (scratch if own else 0)
            words[at] = replace(word, offset=word.offset + further)
        at += kernel.length(form)
    return tuple(words)
