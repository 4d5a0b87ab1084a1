"""1. Forward: interleave tangents with primals."""

from collections.abc import Sequence

from ckpt.errors import LinearityError
from ckpt.ir.build import Builder
from ckpt.ir.op import HoldsPrograms
from ckpt.ir.program import Atom, Program, Var


def jvp(program: Program, active: Sequence[bool] | None = None) -> Program:
    """The program that computes results and their tangents along given input tangents.

    Rewrite:
        y = sin x            ->      y = sin x;  c = cos x;  lin dy = mul c dx

    Tangents that are zero are never made: code that does not depend on an active input is left
    as it is. Only results with no tangent at all get an explicit `zero`.

    Args:
        program: plain, without linear variables.
        active: which inputs have tangents; by default every float input.

    Returns:
        `ins ++ dins of the active ins -> outs ++ douts of every float out`; `dins` and `douts`
        are linear, and every sharing of them is an explicit `dup` or `drop`.

    Raises:
        LinearityError: the program has linear variables already (`ir.forget` them first).

    Source: Radul, Paszke, Frostig, Johnson, Maclaurin. You Only Linearize Once. POPL 2023; the
    omission of zero tangents is ours and JAX's.

    >>> from ckpt.ir.text import parse
    >>> print(jvp(parse("f(x: f32[]) -> (f32[]) { y = sin x  return y }")))
    f_jvp(x: f32[], dx: lin f32[]) -> (f32[], lin f32[]) {
      y: f32[] = sin x
      y_1: f32[] = cos x
      dy: lin f32[] = mul y_1 dx
      return y, dy
    }
    """
    if any(v.type.linear for v in program.bound()):
        raise LinearityError(f"{program.name} is linear already; forget its linearity before jvp")
    wanted = [v.type.has_tangent for v in program.ins] if active is None else list(active)
    b = Builder(program.name + "_jvp")
    primal: dict[Var, Var] = {v: b.input(v.type, v.name) for v in program.ins}
    tangent: dict[Var, Var] = {
        v: b.input(v.type.tangent(), "d" + v.name if v.name else "")
        for v, is_active in zip(program.ins, wanted, strict=True)
        if is_active
    }

    def known(x: Atom) -> Atom:
        return primal[x] if isinstance(x, Var) else x

    for eqn in program.eqns:
        ins = [known(x) for x in eqn.ins]
        dins = [tangent.get(x) if isinstance(x, Var) else None for x in eqn.ins]
        hint = eqn.outs[0].name if eqn.outs else ""
        with b.at(eqn.source, hint, "d" + hint if hint else ""):
            if all(d is None for d in dins) or not any(v.type.has_tangent for v in eqn.outs):
                outs, douts = b.emits(eqn.op, *ins), [None] * len(eqn.outs)
            elif isinstance(eqn.op, HoldsPrograms):
                outs, douts = eqn.op.jvp_with(jvp, b, ins, dins)
            else:
                outs, douts = eqn.op.jvp(b, ins, dins)
        for v, out, dout in zip(eqn.outs, outs, douts, strict=True):
            primal[v] = out
            if dout is not None and v.type.has_tangent:
                tangent[v] = dout
    douts = [tangent.get(v) or b.zero(v.type) for v in program.outs if v.type.has_tangent]
    return b.build([*(primal[v] for v in program.outs), *douts])
