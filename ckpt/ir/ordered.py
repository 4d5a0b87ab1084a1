"""A program written out in the order in which its lets run, recomputations included."""

from collections.abc import Sequence

from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ir.storage import is_view, storage


def ordered(program: Program, order: Sequence[int]) -> Program:
    """The same program with a let for every run of an order; each reads the newest values.

    Args:
        program: plain, in output normal form.
        order: ids of the lets that run, views left out; one that stands again runs again.

    >>> from ckpt.ir.text import parse
    >>> p = parse("f(x: f32[2]) -> (f32[2]) { y = sin x  z = exp y  w = mul z y  return w }")
    >>> [e.op.name for e in ordered(p, [0, 1, 0, 2]).eqns]
    ['sin', 'exp', 'sin', 'mul']
    """
    stored = storage(program)
    views = {v: e for e in program.eqns if is_view(e, stored) for v in e.outs}
    newest: dict[Var, Var] = {v: v for v in program.ins}
    seen: dict[tuple[Var, ...], Var] = {}
    eqns: list[Eqn] = []

    def value(x: Atom) -> Atom:
        if not isinstance(x, Var):
            return x
        if x not in views:
            return newest[x]
        eqn = views[x]
        ins = tuple(value(y) for y in eqn.ins)
        key = (x, *(y for y in ins if isinstance(y, Var)))
        if key not in seen:
            outs = tuple(Var(v.type, v.name) for v in eqn.outs)
            eqns.append(Eqn(outs, eqn.op, ins, eqn.source))
            seen.update(((v, *key[1:]), out) for v, out in zip(eqn.outs, outs, strict=True))
        return seen[key]

    for let in order:
        eqn = program.eqns[let]
        ins = tuple(value(x) for x in eqn.ins)
        outs = tuple(Var(v.type, v.name) for v in eqn.outs)
        eqns.append(Eqn(outs, eqn.op, ins, eqn.source))
        newest.update(zip(eqn.outs, outs, strict=True))
    outs = tuple(newest[v] for v in program.outs)
    return Program(program.name, program.ins, tuple(eqns), outs)
