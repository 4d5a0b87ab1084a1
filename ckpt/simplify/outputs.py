"""Output normal form: every result in a buffer of its own."""

from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import storage


def own_outputs(program: Program) -> Program:
    """Copy the results that are inputs, views, or returned twice.

    Afterwards every result is a distinct let-bound variable that is the root of its own
    contiguous buffer, so that it can be computed straight into the buffer that the caller gets.

    >>> from ckpt.ir.text import parse
    >>> print(own_outputs(parse("f(x: f32[2]) -> (f32[2]) { y = sin x  return y, x }".replace(
    ...     "(f32[2]) {", "(f32[2], f32[2]) {"))))
    f(x: f32[2]) -> (f32[2], f32[2]) {
      y: f32[2] = sin x
      x_1: f32[2] = copy x
      return y, x_1
    }
    """
    stored = storage(program)
    inputs, taken = set(program.ins), set[Var]()
    eqns, outs = list(program.eqns), list[Var]()
    for v in program.outs:
        owns = stored[v].root is v and v not in inputs and v not in taken
        out = v if owns else Var(v.type, v.name)
        if not owns:
            eqns.append(Eqn((out,), make("copy"), (v,)))
        taken.add(out)
        outs.append(out)
    return Program(program.name, program.ins, tuple(eqns), tuple(outs))
