"""Fusion: elementwise lets inlined into the loops of their readers, so that they cost no traffic.

A pass on the program that is about to be planned. It decides nothing by plan or budget: the same
program gives the same fused lets, and each has the bits of its steps run one by one.

**What may be in a loop.** Elementwise lets, and as the last of a loop a reduction (sum, product,
extremum along axes) of what they make. A step reads its operands through views that only rearrange
axes (`seen`) and through rolls; a repeated operand is read in place, and a step that works on fewer
elements than the loop runs once per row where it does not vary along the last axis. A loop with
rolled operands runs box by box, each walked straight through; a reduction reads none, and no loop
does if the program needed more memory so.

**When a value is inlined.** Each elementwise value is looked at, in program order, until nothing
changes. It disappears when every let that reads it is a loop that can run its steps, and

1. *traffic*: the bytes that the loops then read in its place, with the flops that they repeat
   (`FLOPS_PER_BYTE` of them count as one byte), are no more than those of writing it and reading
   it. A step of `EXPENSIVE_FLOPS` and more per element (exp, tanh, log, ...) is never repeated,
   and so is no value whose loop contains one.
2. *live ranges*: the operands that have to live longer take no more bytes than the value that
   disappears; an eighth more is forgiven, for the statistics of a normalisation. Where no more
   than `NEAR` lets that are no steps stand before the last reader, they only must not raise the
   peak of that stretch. The bytes alive never exceed the peak that the program had.
3. *size*: a loop has at most `MAX_STEPS` steps, `MAX_OPERANDS` operands and `MAX_BOXES` boxes,
   and needs no more bytes at once than the hungriest let did, or an eighth of the peak.
4. *bits*: a reduction combines its elements in the order in which it did (`cost.reduction`).

A value that must exist, because a matrix product reads it or it is a result, is still inlined into
those loops where that costs no traffic and prolongs no life: what the backward half recomputes of
it is then free, and it need not wait for it.

**What stays.** Values pinned by `ckpt.save` and `ckpt.recompute`, results, and values read through
other views are written. Everything that is written stays a choice of the planner, and so do all
matrix products, reductions and expensive steps: none of them ever runs twice because of fusion.

Rewrite:
    y = neg x; z = mul y w; s = sum[axes=(0,)] z   ->   s = fused[neg, mul; add along 0] x w

Source: that recomputation inside a fused loop is free is what the min-cut partitioner of functorch
rests on (He, Zou. functorch: JAX-like composable function transforms for PyTorch. 2021). Inlining
of cheap producers is common to fusing compilers; these rules are ours.
"""

from ckpt.ir.program import Program
from ckpt.ops.roll import Roll
from ckpt.simplify.assemble import assemble
from ckpt.simplify.choosing import Choosing
from ckpt.simplify.dce import dce


def fuse(program: Program) -> Program:
    """Inline elementwise lets into the loops that read them.

    Args:
        program: plain, in output normal form, about to be planned: fused lets have no derivative.

    Complexity: a few passes over the lets; each decision looks at the loops that it changes.

    >>> from ckpt.ir.text import parse
    >>> p = parse('''f(x: f32[2,3], w: f32[2,3]) -> (f32[2]) {
    ...   y = neg x
    ...   z = mul y w
    ...   s = sum[axes=(1,)] z
    ...   return s
    ... }''')
    >>> [(e.op.name, len(e.ins)) for e in fuse(p).eqns]
    [('fused', 2)]
    """
    choosing = Choosing(program)
    if any(isinstance(eqn.op, Roll) for eqn in program.eqns):
        # what reads around an edge cannot take over the memory of its operand
        written = Choosing(program, rolls=False)
        choosing = written if written.peak < choosing.peak else choosing
    choosing.run()
    return dce(assemble(choosing))
