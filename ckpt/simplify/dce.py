"""Dead code elimination."""

from collections.abc import Sequence

from ckpt.ir.op import HoldsPrograms
from ckpt.ir.program import Eqn, Program, Var


def dce(program: Program, wanted: Sequence[bool] | None = None) -> Program:
    """Drop every let that no wanted result depends on; lets with effects stay.

    Args:
        program: any program; if it has linear variables, all results must be wanted.
        wanted: per result, whether to keep it; by default all.

    >>> from ckpt.ir.text import parse
    >>> print(dce(parse("f(x: f32[2]) -> (f32[2]) { y = sin x  z = cos x  return z }")))
    f(x: f32[2]) -> (f32[2]) {
      z: f32[2] = cos x
      return z
    }
    """
    keep = [True] * len(program.outs) if wanted is None else wanted
    outs = tuple(v for v, k in zip(program.outs, keep, strict=True) if k)
    read: set[Var] = set(outs)
    kept: list[Eqn] = []
    for eqn in reversed(program.eqns):
        spends = any(isinstance(x, Var) and x.type.linear for x in eqn.ins)
        if eqn.op.effects or spends or any(v in read for v in eqn.outs):
            smaller = _trimmed(eqn, read)
            read.update(x for x in smaller.ins if isinstance(x, Var))
            kept.append(smaller)
    return Program(program.name, program.ins, tuple(reversed(kept)), outs)


def _trimmed(eqn: Eqn, read: set[Var]) -> Eqn:
    """A let that holds programs, without what it makes for nobody."""
    if not isinstance(eqn.op, HoldsPrograms):
        return eqn
    less = eqn.op.trimmed([v in read for v in eqn.outs])
    if less is None:
        return eqn
    outs = tuple(eqn.outs[k] for k in less.outs)
    return Eqn(outs, less.op, tuple(eqn.ins[k] for k in less.ins), eqn.source)
