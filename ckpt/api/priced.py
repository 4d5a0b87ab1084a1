"""The program whose lets are priced when two stages are planned: each stage fused by itself.

A split is made on the program as it was traced, but what runs is fused: loops inside a stage merge,
and values inside them never exist. So the policy is shown the early lets fused among themselves and
the late ones among themselves, with every value that could cross at the border.
"""

from collections.abc import Mapping, Sequence

from ckpt.ad.unzip import Choose, partial_eval
from ckpt.choice import Choice
from ckpt.ir.program import Program, Var
from ckpt.ir.storage import is_view, storage
from ckpt.simplify.fuse import fuse


def priced(program: Program, unknown: Sequence[bool]) -> Program:
    """The lets of both stages as they run, those of the early one first.

    Args:
        program: plain.
        unknown: per input, whether it is known only late.

    Returns:
        A program of the same inputs; its variables are those of `program` that exist when each
        stage is fused and all that the late one asks for is kept.

    >>> from ckpt.ir.text import parse
    >>> p = parse('''f(a: f32[2], u: f32[2]) -> (f32[2]) {
    ...   b = sin a
    ...   c = neg b
    ...   d = mul c u
    ...   e = exp d
    ...   return e
    ... }''')
    >>> [(e.op.name, len(e.ins)) for e in priced(p, [False, True]).eqns]
    [('fused', 1), ('fused', 2)]
    """
    stored = storage(program)

    def choose(let: int) -> Choice:
        return Choice.RECOMPUTE if is_view(program.eqns[let], stored) else Choice.SAVE

    halves = partial_eval(program, unknown, choose)
    inputs = set(program.ins)
    roots = [
        # of a value that an op remade as a view, the buffer that it looks into
        tuple(dict.fromkeys(r for v in half.outs if (r := stored[v].root) not in inputs))
        for half in (halves.early, halves.late)
    ]
    fused = [
        fuse(Program(half.name, half.ins, half.eqns, outs))
        for half, outs in zip((halves.early, halves.late), roots, strict=True)
    ]
    outs = tuple(dict.fromkeys(stored[v].root for v in program.outs))
    return Program(program.name, program.ins, (*fused[0].eqns, *fused[1].eqns), outs)


def chooser(program: Program, kept: Mapping[Var, Choice]) -> Choose:
    """What unzip asks of each let, answered by the values that are kept; the rest is made again."""

    def choose(let: int) -> Choice:
        found = (kept[v] for v in program.eqns[let].outs if v in kept)
        return next(found, Choice.RECOMPUTE)

    return choose
