"""A program made ready for two stages: rows kept apart, and patterns in each stage by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ckpt.ad.unzip import partial_eval
from ckpt.api.priced import priced
from ckpt.choice import Budget, stages_of
from ckpt.cost.model import CostModel
from ckpt.ir.program import Program
from ckpt.parts import parted
from ckpt.simplify.recognise import recognise
from ckpt.simplify.substitution import rename


@dataclass(frozen=True, slots=True)
class Ways:
    """How a program may be written anew before it is split.

    Attributes:
        rows: known and unknown rows of one array may be kept apart.
        patterns: lets are replaced by patterns with kernels of their own.
        fusion: elementwise lets are inlined into the loops that read them.
    """

    rows: bool = True
    patterns: bool = True
    fusion: bool = True


def ready_to_split(
    program: Program,
    unknown: Sequence[bool],
    constants: Sequence[Any],
    costs: CostModel,
    ways: Ways,
) -> Program:
    """The program whose late stage takes least when all is kept that it asks for.

    What is given does not depend on what is kept, so bits do not either.

    Args:
        program: plain, cleaned up; no patterns are in place.
        unknown: per input, whether it is known only late.
        constants: the values of the last inputs, those that the function closed over.
        costs: seconds of a let.
        ways: what may be done.
    """
    found = [program]
    if ways.rows and any(eqn.op.name == "concatenate" for eqn in program.eqns):
        found.append(parted(program, unknown, constants))
    if ways.patterns:
        found = [recognised_apart(one, unknown) for one in found]
    if len(found) == 1:
        return found[0]
    return min(found, key=lambda one: _late_seconds(one, unknown, costs, ways))


def _late_seconds(program: Program, unknown: Sequence[bool], costs: CostModel, ways: Ways) -> float:
    """What a call takes when all is kept."""
    shown = priced(program, unknown, fusion=ways.fusion).program
    nodes: Any = stages_of(shown, unknown, costs, Budget()).graph.nodes
    return sum(nodes[t]["seconds"] for t in nodes if nodes[t].get("stage") == "unknown")


def recognised_apart(program: Program, unknown: Sequence[bool]) -> Program:
    """Put patterns in place whose lets are all of one stage.

    A pattern with known lets and unknown ones would be unknown as a whole: what could have been
    made early would be made in every call.

    Args:
        program: as `simplify.recognise.recognise` takes it.
        unknown: per input, whether it is known only late.

    Returns:
        A program of the same inputs; its known lets stand first where anything was recognised.

    >>> from ckpt.frontends.numpy import Spec, trace
    >>> import ckpt.numpy as cnp
    >>> def attend(q, k, v):
    ...     return cnp.softmax(q @ k.T, axis=1) @ v
    >>> program = trace(attend, (Spec((5, 2), "f8"),) * 3, {}).program
    >>> [e.op.name for e in recognised_apart(program, [True, False, False]).eqns][-1]
    'attention'
    >>> [e.op.name for e in recognised_apart(program, [False, False, True]).eqns][-1]
    'dot'
    """
    halves = partial_eval(program, unknown)
    early, late = recognise(halves.early), recognise(halves.late)
    if early is halves.early and late is halves.late:
        return program
    n_known = len(halves.early_outs)
    crossing = dict(zip(late.ins, early.outs[n_known:], strict=False))  # its own come after
    known = dict(zip(halves.early_outs, early.outs, strict=False))
    rest = iter(late.outs)
    outs = tuple(known[i] if i in known else next(rest) for i in range(len(program.outs)))
    eqns = (*early.eqns, *(rename(eqn, crossing) for eqn in late.eqns))
    return Program(program.name, program.ins, eqns, outs)
