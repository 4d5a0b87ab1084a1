"""Rewriting operands: a let is rebuilt only when one of its operands has another name now."""

from collections.abc import Mapping

from ckpt.ir.program import Atom, Eqn, Var


def rename(eqn: Eqn, names: Mapping[Var, Atom]) -> Eqn:
    """The let with its operands renamed."""
    ins = tuple(names.get(x, x) if isinstance(x, Var) else x for x in eqn.ins)
    return eqn if ins == eqn.ins else Eqn(eqn.outs, eqn.op, ins, eqn.source)
