"""Forget linearity: the program that runs, or that forward mode takes again."""

from ckpt.ir.build import Builder
from ckpt.ir.op import make
from ckpt.ir.program import Atom, Lit, Program, Var


def forget(program: Program) -> Program:
    """The same program with every linear variable made plain.

    Rewrite:
        a, b = dup x   ->   x is shared          drop x   ->   nothing
        z = zero       ->   broadcast 0.0

    >>> from ckpt.ir.text import parse
    >>> print(forget(parse('''f(x: lin f32[2]) -> (lin f32[2]) {
    ...   a, b = dup x
    ...   c = add a b
    ...   return c
    ... }''')))
    f(x: f32[2]) -> (f32[2]) {
      c: f32[2] = add x x
      return c
    }
    """
    b = Builder(program.name)
    env: dict[Var, Var] = {v: b.input(v.type.plain(), v.name) for v in program.ins}

    def plain(x: Atom) -> Atom:
        return env[x] if isinstance(x, Var) else x

    for eqn in program.eqns:
        match eqn.op.name:
            case "dup":
                (x,) = eqn.ins
                assert isinstance(x, Var)
                env.update((v, env[x]) for v in eqn.outs)
            case "drop":
                pass
            case "zero":
                (z,) = eqn.outs
                zero = Lit(0.0, z.type.dtype)
                broadcast = make("broadcast", shape=z.type.shape, axes=())
                with b.at(eqn.source):
                    env[z] = b.emit(broadcast, zero, name=z.name)
            case _:
                with b.at(eqn.source):
                    outs = b.emits(eqn.op, *map(plain, eqn.ins), names=[v.name for v in eqn.outs])
                env.update(zip(eqn.outs, outs, strict=True))
    return b.build([env[v] for v in program.outs])
