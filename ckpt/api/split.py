"""From a program and what is kept to the two halves that run."""

from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from ckpt.ad.unzip import partial_eval
from ckpt.api.priced import chooser
from ckpt.choice import Choice
from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Halves, Program, Var
from ckpt.ir.text import names_of
from ckpt.ir.types import Space
from ckpt.simplify.dce import dce


def named(program: Program) -> Program:
    """The same program with a name on every variable, which it keeps in both halves."""
    new = {v: Var(v.type, name) for v, name in names_of(program).items()}
    eqns = tuple(
        Eqn(
            tuple(new[v] for v in eqn.outs),
            eqn.op,
            tuple(new[x] if isinstance(x, Var) else x for x in eqn.ins),
            eqn.source,
        )
        for eqn in program.eqns
    )
    ins, outs = (tuple(new[v] for v in vs) for vs in (program.ins, program.outs))
    return Program(program.name, ins, eqns, outs)


def halves_of(
    program: Program, unknown: Sequence[bool], near: Sequence[bool], kept: Mapping[Var, Choice]
) -> Halves:
    """Split a program where these values are kept.

    Args:
        program: its inputs are the arguments, then constants, which are at hand.
        unknown: per input, whether it is known only late.
        near: per argument, whether the late half receives it though it is known.
        kept: SAVE stays resident between calls, OFFLOAD is loaded in each; what is neither, and not
            at hand, is made again.

    Returns:
        `early: known arguments ++ constants -> known results ++ residuals`, `late: residuals ++
        other arguments ++ the constants that it reads -> other results`.

    >>> from ckpt.ir.text import parse
    >>> p = named(parse("f(a: f32[2], u: f32[2]) -> (f32[2]) { b = sin a  c = mul b u  return c }"))
    >>> b = p.eqns[0].outs[0]
    >>> print(halves_of(p, [False, True], [False, False], {b: Choice.SAVE}).late)
    f_late(b: f32[2], u: f32[2]) -> (f32[2]) {
      c: f32[2] = mul b u
      return c
    }
    """
    halves = _handed(partial_eval(program, unknown, chooser(program, kept)), program, near)
    return _parked(halves, {v for v in program.ins if kept.get(v) is Choice.OFFLOAD})


def labels_of(program: Program, paths: Sequence[str]) -> dict[Hashable, str]:
    """What reports call a value: an argument by its path, a let by name, op and source line.

    Args:
        program: its inputs are the arguments, then closed-over constants.
        paths: of the arguments.
    """
    names = names_of(program)
    found: dict[Hashable, str] = {}
    for eqn in program.eqns:
        where = f" ({eqn.source})" if eqn.source else ""
        found.update((v, f"{names[v]}: {eqn.op.name}{where}") for v in eqn.outs)
    constants = (f"constant {i}" for i in range(len(program.ins) - len(paths)))
    found.update(zip(program.ins, (*paths, *constants), strict=True))
    return found


def _handed(halves: Halves, program: Program, near: Sequence[bool]) -> Halves:
    """The halves with what is at hand as arguments of the late one instead of residuals.

    Args:
        halves: as unzip made them.
        program: its inputs are the arguments, then constants, which are at hand.
        near: per argument.
    """
    n, n_early = len(halves.residuals), len(halves.early_outs)
    constants = set(program.ins[len(near) :])
    here = {v for v, h in zip(program.ins, near, strict=False) if h}
    here |= constants.intersection(halves.residuals)
    kept = [i for i, v in enumerate(halves.residuals) if v not in here]
    early, late = halves.early, halves.late
    sent = (*early.outs[:n_early], *(early.outs[n_early + i] for i in kept))
    others = {*late.ins[n:], *here}
    received = (*(late.ins[i] for i in kept), *(v for v in program.ins if v in others))
    return Halves(
        dce(Program(early.name, early.ins, early.eqns, sent)),
        Program(late.name, received, late.eqns, late.outs),
        tuple(halves.residuals[i] for i in kept),
        halves.early_outs,
    )


def _parked(halves: Halves, inputs: AbstractSet[Var]) -> Halves:
    """The halves with some inputs moved to where residuals rest and back, as lets were by unzip."""
    n_early = len(halves.early_outs)
    sent, received = list(halves.early.outs), list(halves.late.ins)
    out: list[Eqn] = []
    back: list[Eqn] = []
    for i, v in enumerate(halves.residuals):
        if v in inputs:
            parked = Var(replace(v.type, space=Space.HOST), v.name)
            out.append(Eqn((parked,), make("to_host"), (v,)))
            back.append(Eqn((v,), make("to_device"), (parked,)))
            sent[n_early + i] = received[i] = parked
    early, late = halves.early, halves.late
    return replace(
        halves,
        early=Program(early.name, early.ins, (*early.eqns, *out), tuple(sent)),
        late=Program(late.name, tuple(received), (*back, *late.eqns), late.outs),
    )
