"""Sums of padded values: the zeros need not be written, read and added."""

from collections import Counter

from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import storage
from ckpt.ops.add_padded import AddPadded
from ckpt.ops.arithmetic import Add
from ckpt.ops.shape import Pad
from ckpt.simplify.dce import dce


def unpad(program: Program) -> Program:
    """Add what is padded where it belongs, in place of adding zeros everywhere else.

    The cotangent of a value that is read in slices is a sum of padded cotangents; so are those of
    concatenations and of reads past a boundary.

    Rewrite:
        p = pad x; s = add p y   ->   s = add_padded y x           where nothing else reads p

    >>> from ckpt.ir.text import parse
    >>> print(unpad(parse('''f(x: f32[1], y: f32[9]) -> (f32[9]) {
    ...   p = pad[low=(0,), high=(8,), interior=(0,)] x
    ...   z = neg y
    ...   s = add p z
    ...   return s
    ... }''')))
    f(x: f32[1], y: f32[9]) -> (f32[9]) {
      z: f32[9] = neg y
      s: f32[9] = add_padded[low=(0,), high=(8,), interior=(0,)] z x
      return s
    }
    """
    reads = Counter(x for e in program.eqns for x in e.ins if isinstance(x, Var))
    reads.update(program.outs)
    pads = {
        e.outs[0]: e
        for e in program.eqns
        if isinstance(e.op, Pad)
        and reads[e.outs[0]] == 1
        and e.ins[0].type.size
        and e.ins[0].type.shape
    }
    if not pads:
        return program
    stored, inputs = storage(program), set(program.ins)
    eqns: list[Eqn] = []
    for eqn in program.eqns:
        padded = next((x for x in eqn.ins if isinstance(x, Var) and x in pads), None)
        rest = next((x for x in eqn.ins if x is not padded), None)
        same = isinstance(rest, Var) and rest.type == eqn.outs[0].type
        if not isinstance(eqn.op, Add) or padded is None or not isinstance(rest, Var) or not same:
            eqns.append(eqn)
            continue
        if stored[rest].root is not rest or rest in inputs or reads[rest] > 1:
            own = Var(rest.type, rest.name)  # memory that the sum may take over
            eqns.append(Eqn((own,), make("copy"), (rest,), eqn.source))
            rest = own
        pad = pads[padded]
        eqns.append(
            Eqn(eqn.outs, AddPadded(**dict(pad.op.params())), (rest, pad.ins[0]), eqn.source)
        )
    return dce(Program(program.name, program.ins, tuple(eqns), program.outs))
