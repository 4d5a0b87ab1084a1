"""Calls of loops over elements: maps, rolled ones too, and reductions."""

from collections.abc import Sequence

from ckpt.codegen.kernels import MapKernel, ReduceKernel
from ckpt.codegen.record import Call, Word
from ckpt.codegen.rolls import boxes
from ckpt.codegen.walked import Walked
from ckpt.cost.reduction import Walk
from ckpt.ir.axes import Nest, inner_pattern, merge
from ckpt.ir.kernel import Axes, Expression


def map_calls(
    code: str | Expression, shape: Axes, outs: Sequence[Walked], ins: Sequence[Walked]
) -> list[Call]:
    """One call that makes every element of the results from those of the operands."""
    arrays = [*outs, *ins]
    nest = merge(shape, [x.strides for x in arrays])
    if nest.rank == 0:  # one element: any stride will do, and one kernel for all
        nest = Nest((1,), ((1,),) * len(arrays))
    kernel = MapKernel(
        code,
        tuple(x.dtype for x in ins),
        tuple(x.dtype for x in outs),
        nest.rank,
        inner_pattern(nest.strides),
    )
    words = [*(x.address for x in arrays), *nest.sizes]
    return [Call(kernel, (*words, *(s for strides in nest.strides for s in strides)))]


def rolled_calls(
    code: str | Expression,
    shape: Axes,
    outs: Sequence[Walked],
    ins: Sequence[Walked],
    rolls: Sequence[Axes],
) -> list[Call]:
    """A call per box of the result in which no operand comes back from the end of an axis."""
    none = (0,) * len(shape)
    calls: list[Call] = []
    for start, size in boxes(shape, rolls):
        sides = [x.at(start, none, shape) for x in outs]
        reads = [x.at(start, by, shape) for x, by in zip(ins, rolls, strict=True)]
        calls += map_calls(code, size, sides, reads)
    return calls


def reduction_call(
    code: str, element: str | Expression, out: Walked, ins: Sequence[Walked], way: Walk
) -> Call:
    """A call that combines what `element` makes of the operands."""
    kept, reduced = way.kept, way.reduced
    kernel = ReduceKernel(
        code,
        element,
        tuple(x.dtype for x in ins),
        out.dtype,
        kept.rank,
        reduced.rank,
        way.column,
        way.inner,
    )
    words: list[Word] = [out.address, *(x.address for x in ins), *kept.sizes, *reduced.sizes]
    words += kept.strides[0]
    for k in range(len(ins)):
        words += kept.strides[1 + k]
        words += reduced.strides[k]
    return Call(kernel, tuple(words))
