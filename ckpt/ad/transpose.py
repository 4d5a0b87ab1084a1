"""3. Transpose: turn a tangent program into a cotangent program."""

from ckpt.errors import LinearityError
from ckpt.ir.build import Builder
from ckpt.ir.op import HoldsPrograms
from ckpt.ir.program import Atom, Eqn, Program, Var


def transpose(tangent: Program) -> Program:
    """The adjoint of a linear program: cotangents of its results to cotangents of its inputs.

    Rewrite:
        lin dy = mul c dx        ->      lin ct_x = mul c ct_y
        lin a, b = dup dx        ->      lin ct_x = add ct_a ct_b
        lin dy = zero            ->      drop ct_y

    Linear lets are walked backwards. A plain let (a recomputation) is emitted just before the
    first cotangent let that reads it: after all the cotangent work of what came later, so that a
    recomputed value lives no longer than it must.

    Args:
        tangent: `plain ins ++ dins -> douts`, linear in `dins`, every result linear.

    Returns:
        `plain ins ++ ct_douts -> ct_dins`.

    Raises:
        LinearityError: a result is not linear, or an op is applied to a linear operand it is not
            linear in.

    Source: Radul, Paszke, Frostig, Johnson, Maclaurin. You Only Linearize Once. POPL 2023; the
    placement of plain lets follows from its scoping of non-linear lets.

    >>> from ckpt.ir.text import parse
    >>> p = parse("t(c: f32[], dx: lin f32[]) -> (lin f32[]) { dy = mul c dx  return dy }")
    >>> print(transpose(p))
    t_cotangent(c: f32[], ct_y: lin f32[]) -> (lin f32[]) {
      ct_x: lin f32[] = mul c ct_y
      return ct_x
    }
    """
    for v in tangent.outs:
        if not v.type.linear:
            raise LinearityError(f"{tangent.name}: result {v!r} is not linear")
    b = Builder(tangent.name.removesuffix("_tangent") + "_cotangent")
    env: dict[Var, Var] = {v: b.input(v.type, v.name) for v in tangent.ins if not v.type.linear}
    cts: dict[Var, Var] = {v: b.input(v.type, _cotangent_name(v.name)) for v in tangent.outs}
    plain = {v: e for e in tangent.eqns if not _is_linear(e) for v in e.outs}

    def known(x: Atom) -> Atom:
        # A rule may look at the type of a linear operand, never at its value.
        return env.get(x, x) if isinstance(x, Var) else x

    def supply(wanted: list[Var]) -> None:
        stack: list[Var | Eqn] = list(reversed(wanted))
        while stack:
            top = stack.pop()
            if isinstance(top, Eqn):
                if top.outs[0] not in env:
                    with b.at(top.source, top.outs[0].name):
                        outs = b.emits(top.op, *map(known, top.ins))
                    env.update(zip(top.outs, outs, strict=True))
            elif top not in env:
                stack.append(plain[top])
                stack.extend(x for x in reversed(plain[top].ins) if isinstance(x, Var))

    for eqn in reversed(tangent.eqns):
        if not _is_linear(eqn):
            continue
        ct_outs = [cts.pop(v, None) for v in eqn.outs]
        if eqn.outs and all(ct is None for ct in ct_outs):
            continue  # nothing flows back: the cotangents of its operands are zero
        supply([x for x in eqn.ins if isinstance(x, Var) and not x.type.linear])
        ins = [known(x) for x in eqn.ins]
        hint = next((x.name for x in eqn.ins if isinstance(x, Var) and x.type.linear), "")
        with b.at(eqn.source, "", _cotangent_name(hint)):
            if isinstance(eqn.op, HoldsPrograms):
                ct_ins = eqn.op.transpose_with(transpose, b, ct_outs, ins)
            else:
                ct_ins = eqn.op.transpose(b, ct_outs, ins)
        cts.update(
            (x, ct)
            for x, ct in zip(eqn.ins, ct_ins, strict=True)
            if isinstance(x, Var) and x.type.linear and ct is not None
        )
    return b.build([cts.get(v) or b.zero(v.type) for v in tangent.linear_ins])


def _is_linear(eqn: Eqn) -> bool:
    return any(v.type.linear for v in eqn.outs) or any(x.type.linear for x in eqn.ins)


def _cotangent_name(tangent: str) -> str:
    return "ct_" + tangent.removeprefix("d") if tangent else ""
