"""The program whose lets are priced when two stages are planned: each stage fused by itself.

A split is made on the program as it was traced, but what runs is fused: loops inside a stage merge,
and values inside them never exist. So the policy is shown the early lets fused among themselves and
the late ones among themselves, with every value that could cross at the border.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ckpt.ad.unzip import Choose, partial_eval
from ckpt.choice import Choice, Decision, running_lets
from ckpt.codegen.stopwatch import timed_lets
from ckpt.cost.model import CostModel
from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Halves, Program, Var
from ckpt.ir.storage import Stored, is_view, storage
from ckpt.simplify.fuse import fuse


@dataclass(frozen=True, slots=True)
class Priced:
    """What the policy is shown.

    Attributes:
        program: the lets of both stages as they run.
        slices: variables of it that are copies, and the slices they are copies of.
    """

    program: Program
    slices: Mapping[Var, Var]

    def kept(self, decision: Decision) -> dict[Var, Choice]:
        """The variables of the program that was split that are kept."""
        kept: Any = decision.kept or {}
        return {self.slices.get(v, v): choice for v, choice in kept.items()}


def priced(program: Program, unknown: Sequence[bool], *, fusion: bool = True) -> Priced:
    """The lets of both stages as they run, those of the early one first.

    A slice of an early value may cross without the rest of its buffer; it is shown as a copy.

    Args:
        program: plain.
        unknown: per input, whether it is known only late.
        fusion: whether stages are fused before they run.

    Returns:
        A program of the same inputs; its variables are those of `program` that exist when each
        stage is fused and all that the late one asks for is kept.

    >>> from ckpt.ir.text import parse
    >>> p = parse('''f(a: f32[2], u: f32[2]) -> (f32[2]) {
    ...   b = sin a
    ...   c = neg b
    ...   d = mul c u
    ...   e = exp d
    ...   return e
    ... }''')
    >>> [(e.op.name, len(e.ins)) for e in priced(p, [False, True]).program.eqns]
    [('fused', 1), ('fused', 2)]
    """
    stored = storage(program)

    def choose(let: int) -> Choice:
        return Choice.RECOMPUTE if is_view(program.eqns[let], stored) else Choice.SAVE

    halves, slices = _copied(partial_eval(program, unknown, choose), stored)
    inputs = set(program.ins)
    roots = [
        # of a value that an op remade as a view, the buffer that it looks into
        tuple(dict.fromkeys(r for v in half.outs if (r := _root(v, stored)) not in inputs))
        for half in (halves.early, halves.late)
    ]
    run = [
        Program(half.name, half.ins, half.eqns, outs)
        for half, outs in zip((halves.early, halves.late), roots, strict=True)
    ]
    early, late = map(fuse, run) if fusion else run
    outs = tuple(dict.fromkeys(stored[v].root for v in program.outs))
    whole = Program(program.name, program.ins, (*early.eqns, *late.eqns), outs)
    return Priced(whole, slices)


def measured(
    program: Program, unknown: Sequence[bool], costs: CostModel, constants: Sequence[Any]
) -> CostModel:
    """The same costs with the lets of both stages as they are on this machine.

    Args:
        program: as `priced` shows it.
        unknown: per input, whether it is known only late.
        costs: of all other lets.
        constants: the values of the last inputs, those that the function closed over.
    """
    late = {v for v, u in zip(program.ins, unknown, strict=True) if u}
    lets: dict[bool, list[int]] = {False: [], True: []}
    running = set(running_lets(program))
    for let, eqn in enumerate(program.eqns):
        is_late = not late.isdisjoint(eqn.ins)
        late.update(eqn.outs if is_late else ())
        if let in running:
            lets[is_late].append(let)
    first = len(program.ins) - len(constants)
    values = dict(zip(program.ins[first:], constants, strict=True))
    for mine in lets.values():
        costs = timed_lets(program, mine, costs, values)
    return costs


def _root(v: Var, stored: Mapping[Var, Stored]) -> Var:
    return stored[v].root if v in stored else v


def _copied(halves: Halves, stored: Mapping[Var, Stored]) -> tuple[Halves, dict[Var, Var]]:
    """The halves with slices of early values, which the late one takes, copied in the early one."""
    early, late = halves.early, halves.late
    made = {v for eqn in early.eqns for v in eqn.outs}
    known = {*made, *early.ins}
    copies: dict[Var, Var] = {}
    moved: list[Eqn] = []
    rest: list[Eqn] = []
    for eqn in late.eqns:
        (v, *_) = eqn.outs or (None,)
        view = v is not None and all(isinstance(x, Var) and x in known for x in eqn.ins)
        if v is None or not view:
            rest.append(_with(eqn, copies))
            continue
        known.add(v)
        root = stored[v].root
        if eqn.op.name == "slice" and root in made and v.type.nbytes < root.type.nbytes:
            copies[v] = Var(v.type, v.name)
            moved += [eqn, Eqn((copies[v],), make("copy"), (v,), eqn.source)]
        else:
            moved.append(eqn)
            rest.append(_with(eqn, copies))
    if not copies:
        return halves, {}
    outs = (*early.outs, *copies.values())
    copied = replace(
        halves,
        early=Program(early.name, early.ins, (*early.eqns, *moved), outs),
        late=Program(late.name, (*late.ins, *copies.values()), tuple(rest), late.outs),
    )
    return copied, {copy: v for v, copy in copies.items()}


def _with(eqn: Eqn, new: Mapping[Var, Var]) -> Eqn:
    ins = tuple(new.get(x, x) if isinstance(x, Var) else x for x in eqn.ins)
    return Eqn(eqn.outs, eqn.op, ins, eqn.source)


def chooser(program: Program, kept: Mapping[Var, Choice]) -> Choose:
    """What unzip asks of each let, answered by the values that are kept; the rest is made again."""

    def choose(let: int) -> Choice:
        found = (kept[v] for v in program.eqns[let].outs if v in kept)
        return next(found, Choice.RECOMPUTE)

    return choose
