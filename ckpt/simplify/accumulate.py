"""Scattered sums added where they belong, instead of to zeros that are then added."""

from collections import Counter

from ckpt.ir.program import Eqn, Lit, Program, Var
from ckpt.simplify.dce import dce

_SCATTERS = ("scatter_add", "scatter_add_along_axis")


def accumulate(program: Program) -> Program:
    """Let a scattered sum begin with what it is added to.

    A value that is indexed and also read otherwise has two cotangents: one scattered over zeros,
    one dense. Adding the first into the second saves an array of zeros and two passes.

    Rewrite:
        z = broadcast 0.0; s = scatter_add z u i; t = add a s   ->   t = scatter_add a u i

    Places that are written twice add in another order: as every choice of kernels, this is made
    before anything is planned.

    >>> from ckpt.ir.text import parse
    >>> print(accumulate(parse('''f(a: f32[3], u: f32[2], i: i32[2]) -> (f32[3]) {
    ...   z: f32[3] = broadcast[shape=(3,), axes=()] 0.0:f32
    ...   s: f32[3] = scatter_add[axis=0] z u i
    ...   t: f32[3] = add a s
    ...   return t
    ... }''')))
    f(a: f32[3], u: f32[2], i: i32[2]) -> (f32[3]) {
      t: f32[3] = scatter_add[axis=0] a u i
      return t
    }
    """
    maker = {v: eqn for eqn in program.eqns for v in eqn.outs}
    uses = Counter(x for eqn in program.eqns for x in eqn.ins if isinstance(x, Var))
    uses.update(program.outs)

    def scattered(x: object) -> Eqn | None:
        """The let that scatters over zeros, if nobody else reads its result."""
        eqn = maker.get(x) if isinstance(x, Var) and uses[x] == 1 else None
        if eqn is None or eqn.op.name not in _SCATTERS:
            return None
        zeros = maker.get(eqn.ins[0]) if isinstance(eqn.ins[0], Var) else None
        zero = zeros is not None and zeros.op.name == "broadcast" and zeros.ins[0]
        return eqn if isinstance(zero, Lit) and zero.value == 0 else None

    eqns: list[Eqn] = []
    for eqn in program.eqns:
        made = eqn
        for other, sum_ in (eqn.ins, eqn.ins[::-1]) if eqn.op.name == "add" else ():
            spread = scattered(sum_)
            if spread is not None and isinstance(other, Var) and other.type == eqn.outs[0].type:
                made = Eqn(eqn.outs, spread.op, (other, *spread.ins[1:]), eqn.source)
                break
        eqns.append(made)
    return dce(Program(program.name, program.ins, tuple(eqns), program.outs))
