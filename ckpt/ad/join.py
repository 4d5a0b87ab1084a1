"""Join a primal program and a cotangent program into one: what the policy plans."""

from ckpt.ir.build import Builder
from ckpt.ir.inline import inline
from ckpt.ir.program import Program


def join(primal: Program, cotangent: Program) -> Program:
    """Run one program, then the other on its residuals.

    Rewrite:
        primal(x) -> y, res;  cotangent(res, ct_y) -> ct_x
            ->  joint(x, ct_y) { primal's lets; cotangent's lets; return y, ct_x }

    Args:
        primal: `ins -> outs ++ residuals`.
        cotangent: `residuals ++ ct_outs -> ct_ins`; its plain inputs are the residuals.

    Returns:
        `ins ++ ct_outs -> outs ++ ct_ins`, every variable bound once.

    >>> from ckpt.ir.text import parse
    >>> p = parse("p(x: f32[]) -> (f32[], f32[]) { y = sin x  c = cos x  return y, c }")
    >>> t = parse("t(c: f32[], ct: lin f32[]) -> (lin f32[]) { d = mul c ct  return d }")
    >>> print(join(p, t))
    p_joint(x: f32[], ct: lin f32[]) -> (f32[], lin f32[]) {
      y: f32[] = sin x
      c: f32[] = cos x
      d: lin f32[] = mul c ct
      return y, d
    }
    """
    n_residuals = sum(not v.type.linear for v in cotangent.ins)
    b = Builder(primal.name.removesuffix("_primal") + "_joint")
    ins = [b.input(v.type, v.name) for v in primal.ins]
    cts = [b.input(v.type, v.name) for v in cotangent.linear_ins]
    outs = inline(b, primal, ins)
    n_outs = len(outs) - n_residuals
    return b.build([*outs[:n_outs], *inline(b, cotangent, [*outs[n_outs:], *cts])])
