"""What the kernels of attention do with a block of rows of the scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ckpt.ir.kernel import (
    REACH,
    Apply,
    Axes,
    Blocks,
    Clear,
    Combine,
    Expression,
    Multiply,
    Reach,
    Step,
    Tile,
)
from ckpt.ir.types import DType, Type

_TILE_SCORES = 1 << 15
_MOST_ROWS, _MOST_MASKED_ROWS, _FEWEST_ROWS = 64, 32, 16

_MOST_PARTS = 8
"""Of one let, to run at the same time."""

_WHOLE: Axes = (0, 1)
_ROW: Axes = (0,)
_SCALAR: Axes = ()


def block_rows(n: int, m: int, *, masked: bool) -> int:
    """Rows of scores that stand in memory together, of n in all, each of m elements.

    Fewer rows are slower to multiply, and leave out more of what a mask hides.

    >>> block_rows(1024, 256, masked=False), block_rows(1024, 256, masked=True)
    (64, 32)
    >>> block_rows(1024, 4096, masked=False), block_rows(10, 256, masked=False)
    (16, 10)
    """
    fit = _TILE_SCORES // m // _FEWEST_ROWS * _FEWEST_ROWS
    most = _MOST_MASKED_ROWS if masked else _MOST_ROWS
    return min(n, max(_FEWEST_ROWS, min(most, fit)))


@dataclass(frozen=True, slots=True)
class Operands:
    """Where the operands of an attention op stand; None for those that it does not have."""

    log_sum: int | None
    bias: int | None
    mask: int | None


class AttentionBlocks:
    """Loops over the batch and over blocks of rows, with scores `[rows,m]` in scratch.

    Steps are collected in order: every method appends what it is named for.
    """

    def __init__(
        self, ins: Sequence[Type], n_outs: int, operands: Operands, n_squares: int
    ) -> None:
        """Begin.

        Args:
            ins: types of the operands; q, k, v and the scale come first.
            n_outs: how many results there are.
            operands: where the others stand.
            n_squares: how many scratch arrays there are of the shape of a block of scores. There
                are two more, with one element a row.
        """
        q, k = ins[:2]
        *batch, n, _ = q.shape
        self.m, self.dtype = k.shape[-2], q.dtype.value
        self.operands = operands
        self.read = sum(t.size for t in ins[:3])
        self.row_loop = len(batch)
        self.batch = tuple(range(len(batch)))
        block = block_rows(n, self.m, masked=operands.mask is not None)
        self.turns = (*((size, 0) for size in batch), (n, block))
        self.scratch = (
            *(((block, self.m), self.dtype),) * n_squares,
            *(((block,), self.dtype),) * 2,
        )
        self.steps: list[Multiply | Clear | Reach | Apply | Combine] = []
        # what the rows of the mask hide is not looked at
        self.across = None if operands.mask is None else REACH
        cell = () if operands.mask is None else (((1,), DType.I64.value),)
        self.scratch = (*self.scratch, *cell)
        first = len(ins) + n_outs
        self.squares = tuple(
            Tile(first + i, (self.row_loop, self.across)) for i in range(n_squares)
        )
        self.columns = tuple(Tile(first + n_squares + i, (self.row_loop,)) for i in range(2))
        self.cell = Tile(first + n_squares + 2, (None,))

    def kernel(self) -> Blocks:
        """The collected steps."""
        return Blocks(self.turns, self.scratch, tuple(self.steps), self._cut())

    def _cut(self) -> tuple[int, int]:
        """Along the batch, into parts whose scratch is little beside what is read."""
        batch = [length for length, _ in self.turns[: self.row_loop]]
        if not batch:
            return 0, 1
        enough = (i for i, length in enumerate(batch) if length >= _MOST_PARTS)
        loop = next(enough, batch.index(max(batch)))
        own = sum(prod(shape) for shape, _ in self.scratch)
        return loop, max(1, min(_MOST_PARTS, batch[loop], self.read // (2 * own)))

    def rows(self, array: int) -> Tile:
        """The block's rows of an array `[*b,n,x]`."""
        return Tile(array, (*self.batch, self.row_loop, None))

    def whole(self, array: int) -> Tile:
        """All rows of an array `[*b,m,x]` that are in use."""
        return Tile(array, (*self.batch, self.across, None))

    def beside(self, array: int) -> Tile:
        """The part of an array `[*b,n,m]` that belongs to the block."""
        return Tile(array, (*self.batch, self.row_loop, self.across))

    def column(self, array: int) -> Tile:
        """The block's elements of an array `[*b,n]`."""
        return Tile(array, (*self.batch, self.row_loop))

    def multiply(
        self,
        out: Tile,
        left: Tile,
        right: Tile,
        *,
        turned: tuple[bool, bool] = (False, False),
        adds: bool = False,
    ) -> None:
        """A product."""
        self.steps.append(Multiply(out, left, right, turned, adds))

    def clear(self, array: int) -> None:
        """Zeros in an array `[*b,m,x]`, before the first block of rows."""
        self.steps.append(Clear(Tile(array, (*self.batch, None, None)), self.row_loop))

    def apply(self, out: Tile, steps: "Element") -> None:
        """A map over a tile."""
        self.steps.append(Apply(out, steps.expression(), steps.tiles, steps.axes))

    def combine(self, out: Tile, code: str, steps: "Element") -> None:
        """A reduction of every row of a block."""
        self.steps.append(Combine(out, code, steps.expression(), steps.tiles, steps.axes))

    def scores(self, square: Tile, *more: tuple[Tile, Axes]) -> "Element":
        """What the products q kᵀ in a square become before they are exponents."""
        at = self.operands
        ins = [(square, _WHOLE), (Tile(3, ()), _SCALAR)]
        ins += [(self.beside(at.bias), _WHOLE)] if at.bias is not None else []
        if at.mask is not None:
            ins += [(self.beside(at.mask), _WHOLE), (Tile(at.mask + 1, ()), _SCALAR)]
        element = Element(self.dtype, *ins, *more)
        made, following = element.emit("mul", 0, 1), 2
        if at.bias is not None:
            made, following = element.emit("add", made, 2), 3
        if at.mask is not None:
            element.emit("where", following, made, following + 1)
        return element

    def count(self) -> None:
        """Find out which columns the mask hides from all rows of the block."""
        at = self.operands
        if at.mask is None:
            return
        mask = Tile(at.mask, (*self.batch, self.row_loop, None))
        log_sum = None if at.log_sum is None else self.column(at.log_sum)
        self.steps.append(Reach(self.cell, mask, Tile(at.mask + 1, ()), log_sum, self.m))

    def probabilities(self, square: Tile) -> None:
        """Fill a square with exp(scores - log_sum)."""
        assert self.operands.log_sum is not None
        self.count()
        self.multiply(square, self.rows(0), self.whole(1), turned=(False, True))
        element = self.scores(square, (self.column(self.operands.log_sum), _ROW))
        element.emit("sub", element.last, len(element.tiles) - 1)
        element.emit("exp", element.last)
        self.apply(square, element)

    def gated(self, element: "Element", value: int, mask: int) -> None:
        """End an element with a value, or zero where the mask is false."""
        if self.operands.mask is not None:
            element.emit("gate", value, mask)

    def mask(self) -> list[tuple[Tile, Axes]]:
        """The mask as an operand of an element, if there is one."""
        at = self.operands.mask
        return [] if at is None else [(self.beside(at), _WHOLE)]


class Element:
    """An expression that is being written, and the tiles that it reads."""

    def __init__(self, dtype: str, *ins: tuple[Tile, Axes]) -> None:
        self.dtype = dtype
        self.tiles = tuple(tile for tile, _ in ins)
        self.axes = tuple(axes for _, axes in ins)
        self.steps: list[Step] = []

    @property
    def last(self) -> int:
        """The number of what was made last; of the first operand if nothing was."""
        return len(self.tiles) + len(self.steps) - 1 if self.steps else 0

    def emit(self, code: str, *operands: int) -> int:
        """Append a step; returns the number of what it makes."""
        self.steps.append((code, self.dtype, operands))
        return self.last

    def expression(self) -> Expression:
        """What was written, with the last step as its result."""
        return Expression(tuple(self.steps), (self.last,))


def forward(ins: Sequence[Type], operands: Operands) -> Blocks:
    """`attention`: every row of a block at once, exponents taken from the row's largest score."""
    b = AttentionBlocks(ins, 2, operands, 1)
    out, log_sum = len(ins), len(ins) + 1
    (square,), (top, total) = b.squares, b.columns
    b.count()
    b.multiply(square, b.rows(0), b.whole(1), turned=(False, True))
    b.combine(top, "max", b.scores(square))
    exponents = b.scores(square, (top, _ROW))
    exponents.emit("sub", exponents.last, len(exponents.tiles) - 1)
    exponents.emit("exp", exponents.last)
    b.apply(square, exponents)
    b.combine(total, "add", Element(b.dtype, (square, _WHOLE)))
    b.multiply(b.rows(out), square, b.whole(2))
    mean = Element(b.dtype, (b.rows(out), _WHOLE), (total, _ROW))
    mean.emit("div", 0, 1)
    b.apply(b.rows(out), mean)
    logarithm = Element(b.dtype, (top, _ROW), (total, _ROW))
    logarithm.emit("add", 0, logarithm.emit("log", 1))
    b.apply(b.column(log_sum), logarithm)
    return b.kernel()


def push(ins: Sequence[Type], operands: Operands, first: int) -> Blocks:
    """`attention_tangent`, of dq, dk and dv, the operands from `first` on."""
    b = AttentionBlocks(ins, 2, operands, 2)
    moved, row = len(ins), len(ins) + 1
    dq, dk, dv = first, first + 1, first + 2
    p, ds = b.squares
    b.probabilities(p)
    b.multiply(ds, b.rows(dq), b.whole(1), turned=(False, True))
    b.multiply(ds, b.rows(0), b.whole(dk), turned=(False, True), adds=True)
    weighted = Element(b.dtype, (ds, _WHOLE), (Tile(3, ()), _SCALAR), (p, _WHOLE), *b.mask())
    weighted.emit("mul", weighted.emit("mul", 0, 1), 2)
    b.gated(weighted, weighted.last, 3)
    b.apply(ds, weighted)
    b.combine(b.column(row), "add", Element(b.dtype, (ds, _WHOLE)))
    b.multiply(b.rows(moved), p, b.whole(dv))
    b.multiply(b.rows(moved), ds, b.whole(2), adds=True)
    return b.kernel()


def pull(ins: Sequence[Type], operands: Operands, first: int) -> Blocks:
    """`attention_cotangent`, of the cotangents of `moved` and `row`, from `first` on."""
    b = AttentionBlocks(ins, 3, operands, 2)
    ct_q, ct_k, ct_v = range(len(ins), len(ins) + 3)
    ct_moved, ct_row = first, first + 1
    p, ds = b.squares
    b.clear(ct_k)
    b.clear(ct_v)
    b.probabilities(p)
    b.multiply(b.whole(ct_v), p, b.rows(ct_moved), turned=(True, False), adds=True)
    b.multiply(ds, b.rows(ct_moved), b.whole(2), turned=(False, True))
    weighted = Element(
        b.dtype,
        *((ds, _WHOLE), (b.column(ct_row), _ROW), (p, _WHOLE), (Tile(3, ()), _SCALAR)),
        *b.mask(),
    )
    weighted.emit("mul", weighted.emit("mul", weighted.emit("add", 0, 1), 2), 3)
    b.gated(weighted, weighted.last, 4)
    b.apply(ds, weighted)
    b.multiply(b.rows(ct_q), ds, b.whole(1))
    b.multiply(b.whole(ct_k), ds, b.rows(0), turned=(True, False), adds=True)
    return b.kernel()
