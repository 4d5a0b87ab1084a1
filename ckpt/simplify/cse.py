"""Common subexpression elimination."""

from ckpt.ir.op import Op
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.simplify.substitution import rename


def cse(program: Program) -> Program:
    """Merge lets that apply the same op to the same plain operands.

    Linear lets are left alone: merging two of them would use a linear value twice.

    >>> from ckpt.ir.text import parse
    >>> p = "f(x: f32[2]) -> (f32[2]) { y = sin x  z = sin x  w = add y z  return w }"
    >>> print(cse(parse(p)))
    f(x: f32[2]) -> (f32[2]) {
      y: f32[2] = sin x
      w: f32[2] = add y y
      return w
    }
    """
    names: dict[Var, Atom] = {}
    seen: dict[tuple[Op, tuple[Atom, ...]], tuple[Var, ...]] = {}
    eqns: list[Eqn] = []
    for old in program.eqns:
        eqn = rename(old, names)
        is_plain = not any(v.type.linear for v in eqn.outs) and eqn.outs and not eqn.op.effects
        if is_plain and (eqn.op, eqn.ins) in seen:
            names.update(zip(eqn.outs, seen[eqn.op, eqn.ins], strict=True))
            continue
        if is_plain:
            seen[eqn.op, eqn.ins] = eqn.outs
        eqns.append(eqn)
    outs = tuple(_var(names.get(v, v)) for v in program.outs)
    return Program(program.name, program.ins, tuple(eqns), outs)


def _var(x: Atom) -> Var:
    assert isinstance(x, Var)
    return x
