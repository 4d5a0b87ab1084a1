"""Of a value and its copy in another order only one is kept."""

from collections import defaultdict

from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import storage
from ckpt.ops.elementwise import Elementwise
from ckpt.ops.shape import Permute
from ckpt.simplify.substitution import rename


def one_copy(program: Program) -> Program:
    """Let loops read the copy of a value, once there is one, in place of the value itself.

    Heads of attention are merged by a copy. The weights' gradient reads the copy, the derivative of
    the softmax the heads: both would wait for it.

    Rewrite:
        p = permute x; r = reshape p; ... y = mul x z
            ->   p = permute x; r = reshape p; ... q = reshape r; x' = permute q; y = mul x' z

    where r is a copy, neighbours along the last axis stay neighbours, and only elementwise lets
    read x after it.

    >>> from ckpt.ir.text import parse
    >>> print(one_copy(parse('''f(z: f32[2,3,4]) -> (f32[3,8], f32[2,3,4]) {
    ...   x = sin z
    ...   p = permute[axes=(1, 0, 2)] x
    ...   r = reshape[shape=(3, 8)] p
    ...   y = mul x z
    ...   return r, y
    ... }''')))
    f(z: f32[2,3,4]) -> (f32[3,8], f32[2,3,4]) {
      x: f32[2,3,4] = sin z
      p: f32[3,2,4] = permute[axes=(1, 0, 2)] x
      r: f32[3,8] = reshape[shape=(3, 8)] p
      v4: f32[3,2,4] = reshape[shape=(3, 2, 4)] r
      v5: f32[2,3,4] = permute[axes=(1, 0, 2)] v4
      y: f32[2,3,4] = mul v5 z
      return r, y
    }
    """
    readers: dict[Var, list[int]] = defaultdict(list)
    for i, eqn in enumerate(program.eqns):
        for x in eqn.ins:
            if isinstance(x, Var):
                readers[x].append(i)
    permuted = {e.outs[0]: e for e in program.eqns if isinstance(e.op, Permute)}
    if not permuted:
        return program
    stored, fixed = storage(program), {*program.ins, *program.outs}
    made: dict[int, list[Eqn]] = {}  # lets in place of one
    for i, eqn in enumerate(program.eqns):
        read = eqn.ins[0] if eqn.op.name == "reshape" else None
        turn = permuted.get(read) if isinstance(read, Var) else None
        if turn is None or stored[eqn.outs[0]].root is not eqn.outs[0]:
            continue
        assert isinstance(turn.op, Permute)
        x = turn.ins[0]
        assert isinstance(x, Var)
        later = [k for k in readers[x] if k > i]
        loops = all(isinstance(program.eqns[k].op, Elementwise) for k in later)
        whole = stored[x].root is x and x not in fixed and turn.op.axes[-1] == x.type.ndim - 1
        if not (later and loops and whole):
            continue
        axes = turn.op.axes
        back = tuple(axes.index(k) for k in range(len(axes)))
        flat, same = Var(turn.outs[0].type), Var(x.type)
        views = [
            Eqn((flat,), make("reshape", shape=flat.type.shape), eqn.outs, eqn.source),
            Eqn((same,), make("permute", axes=back), (flat,), eqn.source),
        ]
        made[i] = [*made.get(i, [eqn]), *views]
        for k in later:
            made[k] = [rename(e, {x: same}) for e in made.get(k, [program.eqns[k]])]
    if not made:
        return program
    eqns = [e for i, eqn in enumerate(program.eqns) for e in made.get(i, [eqn])]
    return Program(program.name, program.ins, tuple(eqns), program.outs)
