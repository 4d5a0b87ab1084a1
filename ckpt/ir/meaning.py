"""What a let means where values are halves: decided here once, for every primitive.

f16 and bf16 are ways to store a number, not to work with it. A let on halves widens its operands
to f32, which is exact, does in f32 what its primitive does, sums and products of matrices included,
and rounds each result that is a half once: to the nearest, ties to even. What is too large becomes
infinite, what is small subnormal. A conversion from another dtype goes by way of f32 too.

Bits therefore do not depend on what is fused: a step of a loop rounds what it leaves in a register
as if it were stored. Nor do they depend on which kernel runs: one that knows no halves works on
copies in f32 (`ckpt.cost.halves`).
"""

import numpy as np

from ckpt.ir.op import Array, Op, result_types
from ckpt.ir.types import DType, type_of


def evaluate(op: Op, *ins: Array) -> tuple[Array, ...]:
    """The results of an op on arrays: `Op.impl`, in f32 where there are halves.

    >>> from ckpt.ir.op import make
    >>> (total,) = evaluate(make("add"), np.float16([2047, 2048]), np.float16([1, 1]))
    >>> total.dtype, total.tolist()
    (dtype('float16'), [2048.0, 2048.0])
    """
    halves = [DType.of(x.dtype).is_half for x in ins]
    if op.knows_halves or not any(halves):
        made = op.impl(*ins)
        return made if isinstance(made, tuple) else (made,)
    wide = (x.astype(np.float32) if half else x for x, half in zip(ins, halves, strict=True))
    made = op.impl(*wide)
    made = made if isinstance(made, tuple) else (made,)
    types = result_types(op, [type_of(x) for x in ins])
    return tuple(np.asarray(x, t.dtype.numpy) for x, t in zip(made, types, strict=True))
