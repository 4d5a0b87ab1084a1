"""Inlining: the lets of one program emitted into another."""

from collections.abc import Sequence

from ckpt.ir.build import Builder
from ckpt.ir.program import Atom, Program, Var


def inline(b: Builder, program: Program, args: Sequence[Atom]) -> tuple[Atom, ...]:
    """Emit a program's lets into a builder, its parameters replaced by `args`.

    Types are worked out anew from the arguments, so a plain program given linear arguments
    becomes linear code, or is refused.

    Returns:
        Its results, as the builder's variables (or an argument, where one is returned as it is).

    Raises:
        IRTypeError: a let refuses the types that follow from the arguments.
    """
    env: dict[Var, Atom] = dict(zip(program.ins, args, strict=True))

    def known(x: Atom) -> Atom:
        return env[x] if isinstance(x, Var) else x

    for eqn in program.eqns:
        with b.at(eqn.source or b.source):
            outs = b.emits(eqn.op, *map(known, eqn.ins), names=[v.name for v in eqn.outs])
        env.update(zip(eqn.outs, outs, strict=True))
    return tuple(env[v] for v in program.outs)
