"""Pieces turned before they are joined, where the whole would be copied to be turned."""

from collections import Counter

from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import storage
from ckpt.ops.pieces import Concatenate
from ckpt.ops.shape import Permute


def turn_pieces(program: Program) -> Program:
    """Concatenate what is permuted instead of permuting what is concatenated.

    The cotangents of the heads of attention are joined, and then laid out as the projection that
    made them: the copy that joins them can put each where it belongs.

    Rewrite:
        c = concatenate[axis=0] x y; p = permute[axes=(1, 0, 2)] c; r = reshape p
            ->   x' = permute x; y' = permute y; p = concatenate[axis=1] x' y'; r = reshape p

    where nothing else reads c, and r, which was a copy, becomes a view.

    >>> from ckpt.ir.text import parse
    >>> print(turn_pieces(parse('''f(x: f32[1,4,5], y: f32[2,4,5]) -> (f32[4,15]) {
    ...   c = concatenate[axis=0] x y
    ...   p = permute[axes=(1, 0, 2)] c
    ...   r = reshape[shape=(4, 15)] p
    ...   return r
    ... }''')))
    f(x: f32[1,4,5], y: f32[2,4,5]) -> (f32[4,15]) {
      v2: f32[4,1,5] = permute[axes=(1, 0, 2)] x
      v3: f32[4,2,5] = permute[axes=(1, 0, 2)] y
      p: f32[4,3,5] = concatenate[axis=1] v2 v3
      r: f32[4,15] = reshape[shape=(4, 15)] p
      return r
    }
    """
    reads = Counter(x for e in program.eqns for x in e.ins if isinstance(x, Var))
    reads.update(program.outs)
    joined = {e.outs[0]: e for e in program.eqns if isinstance(e.op, Concatenate)}
    if not joined:
        return program
    stored = storage(program)
    copied = {
        e.ins[0]
        for e in program.eqns
        if e.op.name == "reshape" and stored[e.outs[0]].root is e.outs[0]
    }
    turned: dict[Var, list[Eqn]] = {}  # by what is permuted
    gone: set[Var] = set()
    for eqn in program.eqns:
        x = eqn.ins[0] if isinstance(eqn.op, Permute) else None
        whole = joined.get(x) if isinstance(x, Var) and reads[x] == 1 else None
        if whole is None or eqn.outs[0] not in copied:
            continue
        assert isinstance(eqn.op, Permute)
        assert isinstance(whole.op, Concatenate)
        outs = [Var(eqn.op.type(x.type)) for x in whole.ins]
        pieces = [Eqn((v,), eqn.op, (x,), eqn.source) for v, x in zip(outs, whole.ins, strict=True)]
        join = make("concatenate", axis=eqn.op.axes.index(whole.op.axis))
        turned[eqn.outs[0]] = [*pieces, Eqn(eqn.outs, join, tuple(outs), whole.source)]
        gone.add(whole.outs[0])
    if not gone:
        return program
    eqns: list[Eqn] = []
    for eqn in program.eqns:
        if not gone.intersection(eqn.outs):
            eqns += turned.get(eqn.outs[0], [eqn]) if eqn.outs else [eqn]
    return Program(program.name, program.ins, tuple(eqns), program.outs)
