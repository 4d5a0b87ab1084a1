"""The pass: what every let makes of the blocks of its operands."""

from collections.abc import Sequence
from typing import Any

from ckpt.ir.program import Eqn, Lit, Program, Var
from ckpt.parts.blocks import Blocks
from ckpt.parts.grid import Grid
from ckpt.parts.rules import rule_of
from ckpt.simplify import simplify


def parted(program: Program, unknown: Sequence[bool], constants: Sequence[Any]) -> Program:
    """Keep known and unknown rows of an array apart.

    Masks that the function closes over, or makes of nothing, are looked into: a block that one
    hides altogether is one scalar. What is `-inf` before an exponential is zero after it, and zero
    times anything is zero: numbers are taken to be finite.

    Rewrite:
        x = concatenate a b; y = sin x; z = y[len(a):]   ->   z = sin b
        s = sum (concatenate a b)                        ->   s = sum a + sum b

    Args:
        program: plain.
        unknown: per input, whether it is known only late.
        constants: the values of the last inputs, those that the function closed over.

    Returns:
        A program of the same inputs and results; equal but for rounding.

    >>> from ckpt.ir.text import parse
    >>> p = parse('''f(a: f32[3], b: f32[2]) -> (f32[]) {
    ...   x = concatenate[axis=0] a b
    ...   y = sin x
    ...   s = sum[axes=(0,)] y
    ...   return s
    ... }''')
    >>> print(parted(p, [False, True], []))
    f(a: f32[3], b: f32[2]) -> (f32[]) {
      y: f32[3] = sin a
      y_1: f32[2] = sin b
      s: f32[] = sum[axes=(0,)] y
      s_1: f32[] = sum[axes=(0,)] y_1
      s_2: f32[] = add s s_1
      return s_2
    }
    """
    blocks = Blocks(program, unknown, constants)
    for eqn in program.eqns:
        _run(blocks, eqn)
    return simplify(blocks.b.build([blocks.whole(blocks.grids[v]) for v in program.outs]))


def _run(blocks: Blocks, eqn: Eqn) -> None:
    """Add what a let makes: block by block if its op can, else of whole operands."""
    operands = [blocks.grids[x] if isinstance(x, Var) else x for x in eqn.ins]
    cut = any(isinstance(x, Grid) and not x.is_one for x in operands)
    rule = rule_of(eqn) if cut or eqn.op.name == "concatenate" else None
    with blocks.b.at(eqn.source, eqn.outs[0].name if eqn.outs else ""):
        if rule is not None:
            found = rule(blocks, eqn.op, operands, eqn.outs[0].type)
            if found is not None:
                blocks.grids[eqn.outs[0]] = blocks.settled(found)
                return
        ins = [x if isinstance(x, Lit) else blocks.whole(x) for x in operands]
        outs = blocks.b.emits(eqn.op, *ins, names=[v.name for v in eqn.outs])
    if any(x in blocks.late for x in ins):
        blocks.late.update(outs)
    blocks.look_into(eqn.op, ins, outs)
    blocks.grids.update((v, Grid.one(v.type, new)) for v, new in zip(eqn.outs, outs, strict=True))
