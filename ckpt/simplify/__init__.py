"""Cleanups between stages, each a function from Program to Program that keeps its meaning.

    recognise     lets that together are a pattern with a better kernel; before derivatives
                  (`attention`, `log_sum_exp` and `softmax` match, `sight` looks at operands)
    periodic      slices and concatenations that only move an array become rolls
    dce           lets that nobody reads
    cse           lets that compute the same thing
    fold          lets whose result is an operand or a constant
    gather        sums of zero-padded pieces that fill an array become concatenations
    turn_pieces   pieces permuted before they are joined, where the whole would be copied
    unpad         sums of padded values without the zeros
    accumulate    scattered sums added where they belong; after derivatives
    add_products  matrix products added to what they are summed with, where that stands
    hoist         lets that are the same in every step of a loop run before it
    turn          matrices that every step of a loop multiplies by, stored once as it reads them
    sink          lets run as late as that holds no more bytes
    outputs       every result in a buffer of its own: the normal form that plan expects
    one_copy      loops read the copy of a value, so that the value itself need not wait
    fuse          elementwise lets inlined into the loops of their readers; last, before planning
                  (`seen` looks through views and rolls, `loops` names what can be a step,
                  `choosing` decides, `rolls` says which are not written, `alive` counts bytes,
                  `assemble` writes the fused lets)

Only `recognise`, `accumulate`, `add_products` and `turn` change the last bits of results. All run
before planning. Nothing after planning may merge two runs of a let: a repeat is a recomputation
that was paid for.
"""

from ckpt.ir.program import Program
from ckpt.simplify.cse import cse
from ckpt.simplify.dce import dce
from ckpt.simplify.fold import fold


def simplify(program: Program) -> Program:
    """Fold, merge equal lets, and drop unread ones, until nothing changes.

    >>> from ckpt.ir.text import parse
    >>> p = parse('''f(x: f32[2]) -> (f32[2]) {
    ...   a = mul x 1.0:f32
    ...   b = sin a
    ...   c = sin x
    ...   d = add b c
    ...   return d
    ... }''')
    >>> print(simplify(p))
    f(x: f32[2]) -> (f32[2]) {
      b: f32[2] = sin x
      d: f32[2] = add b b
      return d
    }
    """
    while True:
        smaller = dce(cse(fold(program)))
        if len(smaller.eqns) == len(program.eqns):
            return smaller
        program = smaller
