"""The logarithm of a sum of exponentials, row by row: all that a softmax needs to remember.

    l = log Σ exp x,   dl = Σ exp(x - l) dx

so that the derivative keeps one number a row, and works exponentials out again in the loop that
reads them.
"""

from collections.abc import Iterable, Sequence
from typing import final

from ckpt.ir.build import Builder, lit
from ckpt.ir.interpret import interpret
from ckpt.ir.kernel import Apply, Axes, Blocks, Combine, Expression, Step, Tile
from ckpt.ir.op import Array, Cost, Op, Sample, Tangents, make, primitive, require
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.types import DType, Type, type_of
from ckpt.ops.broadcast import along
from ckpt.ops.elementwise import FLOPS

_TILE_BYTES = 1 << 17
"""Of the rows that are read twice while they are in the cache."""


@final
@primitive
class LogSumExp(Op):
    """`log Σ exp x` along the last axis, from its largest element: `f32[*b,n] -> f32[*b]`.

    Attributes:
        guarded: where the largest element is infinite, exponentials are taken of x as it is: a
            row of -inf gives -inf. Otherwise it gives NaN.
    """

    guarded: bool

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        (x,) = ins
        require(x.dtype.is_float, self, "takes floats; cast the operand", x)
        require(x.ndim >= 2, self, "takes rows: at least two axes", x)
        require(x.size > 0, self, "there is nothing to add up", x)
        return x.reshaped(x.shape[:-1])

    def meaning(self, x: Type) -> Program:
        """What it computes, in other ops."""
        b = Builder(self.name)
        v, last = b.input(x), (x.ndim - 1,)
        top = b.emit(make("max", axes=last), v)
        if self.guarded:
            top = b.emit(make("where"), b.emit(make("isfinite"), top), top, lit(0, x.dtype))
        powers = b.emit(make("exp"), b.emit(make("sub"), v, along(b, top, last, x.shape)))
        total = b.emit(make("sum", axes=last), powers)
        return b.build([b.emit(make("add"), b.emit(make("log"), total), top)])

    def impl(self, *ins: Array) -> Array:
        (out,) = interpret(self.meaning(type_of(ins[0])), *ins)
        return out

    def cost(self, *ins: Type) -> Cost:
        (x,) = ins
        out, kernel = self.type(x), self.lower(x)
        scratch = sum(shape[0] * DType(t).itemsize for shape, t in kernel.scratch)
        return Cost((FLOPS["exp"] + 3) * x.size, x.nbytes, out.nbytes, scratch * kernel.cut[1])

    def lower(self, *ins: Type) -> Blocks:
        """Twice through a block of rows that stays in the cache."""
        (x,) = ins
        *batch, n, m = x.shape
        dtype, loop = x.dtype.value, len(batch)
        block = max(1, min(n, _TILE_BYTES // (m * x.dtype.itemsize)))
        rows, column = Tile(0, (*range(loop), loop, None)), Tile(1, (*range(loop), loop))
        top, total = Tile(2, (loop,)), Tile(3, (loop,))
        copy: Expression = Expression((), (0,))
        steps: list[Combine | Apply] = [Combine(top, "max", copy, (rows,), ((0, 1),))]
        if self.guarded:
            zero: list[Step] = [("isfinite", "bool", (0,)), ("gate", dtype, (0, 1))]
            steps.append(_over(top, zero, top))
        shifted: tuple[Step, ...] = (("sub", dtype, (0, 1)), ("exp", dtype, (2,)))
        exponentials = Expression(shifted, (3,))
        steps.append(Combine(total, "add", exponentials, (rows, top), ((0, 1), (0,))))
        steps.append(_over(column, [("log", dtype, (0,)), ("add", dtype, (2, 1))], total, top))
        scratch = (((block,), dtype), ((block,), dtype))
        turns = (*((length, 0) for length in batch), (n, block))
        parts = max(1, min(_MOST_PARTS, batch[0])) if batch else 1
        return Blocks(turns, scratch, tuple(steps), (0, parts))

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (x,), (dx,) = ins, dins
        assert dx is not None
        out, last = b.emit(self, x), (x.type.ndim - 1,)
        back = b.emit(make("sub"), x, along(b, out, last, x.type.shape))
        moved = b.emit(make("mul"), b.emit(make("exp"), back), dx)
        return [out], [b.emit(make("sum", axes=last), moved)]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for guarded in (False, True):
            for shape in ((5, 7), (2, 3, 40), (1, 1), (2, 1, 3, 17)):
                yield Sample(cls(guarded), (Type(shape, DType.F64),), -3, 3, spread=True)
            yield Sample(cls(guarded), (Type((70, 33), DType.F32),), -9, 9)


def _over(out: Tile, steps: list[Step], *ins: Tile) -> Apply:
    """A map over one element a row."""
    axes: tuple[Axes, ...] = ((0,),) * len(ins)
    return Apply(out, Expression(tuple(steps), (len(ins) + len(steps) - 1,)), ins, axes)


_MOST_PARTS = 8
"""Of one let, to run at the same time."""
