"""Inlining: the lets of one program emitted into another."""

from collections.abc import Sequence

from ckpt.ir.build import Builder
from ckpt.ir.op import HoldsPrograms, Op, make
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


def inline_calls(program: Program, *, custom: bool = False) -> Program:
    """Flatten every `call`: its program's lets stand in its place, at any depth.

    Args:
        program: what to flatten.
        custom: flatten ops with derivative rules of their own as well. Before a program is
            derived they stay, since what they hold is to be seen by their rules only; before it
            runs they must go.
    """

    def body_of(op: Op) -> Program | None:
        if isinstance(op, HoldsPrograms) and (custom or op.name == "call"):
            return op.body()
        return None

    if all(body_of(eqn.op) is None for eqn in program.eqns):
        return program
    b = Builder(program.name)
    env: dict[Var, Atom] = {v: b.input(v.type, v.name) for v in program.ins}
    for eqn in program.eqns:
        ins = [env[x] if isinstance(x, Var) else x for x in eqn.ins]
        body = body_of(eqn.op)
        with b.at(eqn.source):
            if body is not None:
                outs = inline(b, inline_calls(body, custom=custom), ins)
            else:
                outs = b.emits(eqn.op, *ins, names=[v.name for v in eqn.outs])
        env.update(zip(eqn.outs, outs, strict=True))
    return b.build([_stored(b, env[v]) for v in program.outs])
