"""Constant folding and identities that change no bit of any result."""

from ckpt.ir.kernel import Map
from ckpt.ir.op import make, result_types
from ckpt.ir.program import Atom, Eqn, Lit, Program, Var
from ckpt.simplify.substitution import rename


def fold(program: Program) -> Program:
    """Replace results that are an operand, and operands that are a broadcast literal.

    Rewrite:
        b = broadcast 2.0; y = mul x b   ->   y = mul x 2.0
        y = mul x 1.0                    ->   x
        y = reshape x  (to its shape)    ->   x;  likewise cast, permute, broadcast
        y = reshape (reshape x)          ->   reshape x;  likewise permute

    Array constants are never computed here: code and constants do not grow.

    >>> from ckpt.ir.text import parse
    >>> print(fold(parse('''f(x: f32[2]) -> (f32[2]) {
    ...   y = mul x 1.0:f32
    ...   z = sin y
    ...   return z
    ... }''')))
    f(x: f32[2]) -> (f32[2]) {
      z: f32[2] = sin x
      return z
    }
    """
    names: dict[Var, Atom] = {}
    literals: dict[Var, Lit] = {}
    defs: dict[Var, Eqn] = {}
    eqns: list[Eqn] = []
    outs = set(program.outs)
    for old in program.eqns:
        eqn = _merge_rearrangements(_with_literals(rename(old, names), literals), defs)
        same = _operand_that_it_equals(eqn)
        if same is not None and not (eqn.outs[0] in outs and isinstance(same, Lit)):
            names[eqn.outs[0]] = same
            continue
        if eqn.op.name == "broadcast" and isinstance(eqn.ins[0], Lit):
            literals[eqn.outs[0]] = eqn.ins[0]
        if len(eqn.outs) == 1:
            defs[eqn.outs[0]] = eqn
        eqns.append(eqn)
    results: list[Var] = []
    for v in program.outs:
        x = names.get(v, v)
        assert isinstance(x, Var)
        results.append(x)
    return Program(program.name, program.ins, tuple(eqns), tuple(results))


def _with_literals(eqn: Eqn, literals: dict[Var, Lit]) -> Eqn:
    """Elementwise ops take scalars as they are: a broadcast literal need not exist."""
    if not any(x in literals for x in eqn.ins):
        return eqn
    kernel = eqn.op.lower(*(x.type.plain() for x in eqn.ins))
    if not isinstance(kernel, Map) or kernel.by is not None:
        return eqn
    ins = tuple(literals.get(x, x) if isinstance(x, Var) else x for x in eqn.ins)
    if result_types(eqn.op, [x.type for x in ins]) != tuple(v.type for v in eqn.outs):
        return eqn  # every operand is constant: the shape would be lost
    return Eqn(eqn.outs, eqn.op, ins, eqn.source)


def _operand_that_it_equals(eqn: Eqn) -> Atom | None:
    if len(eqn.outs) != 1 or not eqn.ins:
        return None
    (out,), x = eqn.outs, eqn.ins[0]
    match eqn.op.name:
        case "reshape" | "cast" | "broadcast" if x.type == out.type:
            return x
        case "permute" if list(dict(eqn.op.params())["axes"]) == list(range(out.type.ndim)):
            return x
        case "mul":
            one = Lit(1.0, out.type.dtype)
            for scalar, other in (eqn.ins, eqn.ins[::-1]):
                if scalar == one and other.type == out.type:
                    return other
        case "div" if eqn.ins[1] == Lit(1.0, out.type.dtype) and x.type == out.type:
            return x
        case _:
            pass
    return None


def _merge_rearrangements(eqn: Eqn, defs: dict[Var, Eqn]) -> Eqn:
    if eqn.op.name not in ("reshape", "permute") or not isinstance(eqn.ins[0], Var):
        return eqn
    inner = defs.get(eqn.ins[0])
    if inner is None or inner.op.name != eqn.op.name or eqn.outs[0].type.linear:
        return eqn
    op = eqn.op
    if eqn.op.name == "permute":
        outer, first = (dict(o.params())["axes"] for o in (eqn.op, inner.op))
        op = make("permute", axes=tuple(first[i] for i in outer))
    return Eqn(eqn.outs, op, inner.ins, eqn.source)
