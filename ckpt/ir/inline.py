"""Inlining: the lets of one program emitted into another."""

from collections.abc import Sequence

from ckpt.ir.build import Builder
from ckpt.ir.op import HoldsPrograms, make
from ckpt.ir.program import Atom, Program, Var


def inline(b: Builder, program: Program, args: Sequence[Atom]) -> tuple[Var, ...]:
    """Emit a program's lets into a builder, its parameters replaced by `args`.

    Types are worked out anew from the arguments, so a plain program given linear arguments
    becomes linear code, or is refused.

    Returns:
        Its results, as the builder's variables.

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
    return tuple(_stored(b, env[v]) for v in program.outs)


def _stored(b: Builder, x: Atom) -> Var:
    """A literal that is returned as it is needs a buffer."""
    return x if isinstance(x, Var) else b.emit(make("broadcast", shape=(), axes=()), x)


def inline_calls(program: Program) -> Program:
    """Flatten every `call`: its program's lets stand in its place, at any depth.

    Custom derivative rules stay: what they hold is seen only when they are derived.
    """
    if not any(eqn.op.name == "call" for eqn in program.eqns):
        return program
    b = Builder(program.name)
    env: dict[Var, Atom] = {v: b.input(v.type, v.name) for v in program.ins}
    for eqn in program.eqns:
        ins = [env[x] if isinstance(x, Var) else x for x in eqn.ins]
        with b.at(eqn.source):
            if eqn.op.name == "call" and isinstance(eqn.op, HoldsPrograms):
                (body,) = eqn.op.programs()
                outs = inline(b, inline_calls(body), ins)
            else:
                outs = b.emits(eqn.op, *ins, names=[v.name for v in eqn.outs])
        env.update(zip(eqn.outs, outs, strict=True))
    return b.build([_stored(b, env[v]) for v in program.outs])
