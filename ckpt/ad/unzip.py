"""2. Unzip: separate what is known early from what is known late.

Unzip is partial evaluation. Reverse mode is the instance whose late part is the linear part;
`partial_eval` is the same pass for any set of late inputs. Checkpointing is one question asked at
one place: when the late half demands an early value, `choose(let)` answers SAVE, RECOMPUTE or
OFFLOAD. A let that the late half never asks for is never a question.

Source: Radul, Paszke, Frostig, Johnson, Maclaurin. You Only Linearize Once. POPL 2023.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ckpt.choice import Choice
from ckpt.errors import LinearityError
from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Halves, Program, Var
from ckpt.ir.types import Space

Choose = Callable[[int], Choice]
"""The policy as unzip sees it: the id of a let to what becomes of its results."""


def save(let: int) -> Choice:
    """Save every value that the late half asks for."""
    del let
    return Choice.SAVE


def unzip(program: Program, choose: Choose = save) -> Halves:
    """Split a program with tangents into its primal half and its tangent half.

    Rewrite, with `choose` answering SAVE, then RECOMPUTE, for the let of c:
        y = sin x; c = cos x; lin dy = mul c dx
            ->   primal(x) { y = sin x; c = cos x; return y, c }
                 tangent(c, dx) { lin dy = mul c dx; return dy }
            ->   primal(x) { y = sin x; return y, x }
                 tangent(x, dx) { c = cos x; lin dy = mul c dx; return dy }

    Args:
        program: as `forward.jvp` makes it; its linear variables are the late ones.
        choose: asked once per let whose value the tangent half demands.

    Returns:
        `early: ins -> outs ++ residuals`, `late: residuals ++ dins -> douts`.

    Raises:
        LinearityError: an early value would depend on a linear one.

    >>> from ckpt.ir.text import parse
    >>> p = parse('''f(x: f32[], dx: lin f32[]) -> (f32[], lin f32[]) {
    ...   y = sin x
    ...   c = cos x
    ...   dy = mul c dx
    ...   return y, dy
    ... }''')
    >>> print(unzip(p).late)
    f_tangent(c: f32[], dx: lin f32[]) -> (lin f32[]) {
      dy: lin f32[] = mul c dx
      return dy
    }
    """
    halves = partial_eval(program, [v.type.linear for v in program.ins], choose)
    name = program.name.removesuffix("_jvp")
    early = Program(name + "_primal", halves.early.ins, halves.early.eqns, halves.early.outs)
    late = Program(name + "_tangent", halves.late.ins, halves.late.eqns, halves.late.outs)
    for v in late.outs:
        if not v.type.linear:
            raise LinearityError(f"{name}: result {v!r} depends on a tangent but is not linear")
    return Halves(early, late, halves.residuals, halves.early_outs)


def partial_eval(program: Program, unknown: Sequence[bool], choose: Choose = save) -> Halves:
    """Split a program into what its known inputs determine and what must wait for the others.

    Args:
        program: any program.
        unknown: per input, whether it is known only late. A let is late when it reads a late
            value or makes a linear one.
        choose: asked once per early let whose value the late half demands. Inputs are pinned:
            they cross as they are. A let with effects is never asked about: it is saved.

    Returns:
        `early: known ins -> early outs ++ residuals`, `late: residuals ++ unknown ins -> late
        outs`. Running one after the other computes what the program computes, bit for bit, for
        every `choose`: all runs of a let make the same value.

    Complexity: linear in the program.
    """
    late_vars = {v for v, is_late in zip(program.ins, unknown, strict=True) if is_late}
    early_eqns: list[Eqn] = []
    late_eqns: list[Eqn] = []
    defs: dict[Var, tuple[int, Eqn]] = {}
    for let, eqn in enumerate(program.eqns):
        if any(x in late_vars for x in eqn.ins) or any(v.type.linear for v in eqn.outs):
            late_eqns.append(eqn)
            late_vars.update(eqn.outs)
        else:
            early_eqns.append(eqn)
            defs.update((v, (let, eqn)) for v in eqn.outs)

    demand = _Demand(defs, choose)
    for eqn in late_eqns:
        demand.supply([x for x in eqn.ins if isinstance(x, Var) and x not in late_vars])
        demand.late.append(eqn)
    late_outs = [v for v in program.outs if v in late_vars]
    early_outs = [v for v in program.outs if v not in late_vars]
    known_ins = tuple(v for v in program.ins if v not in late_vars)
    late_ins = tuple(v for v in program.ins if v in late_vars)
    early = Program(
        program.name + "_early",
        known_ins,
        (*early_eqns, *demand.early),
        (*early_outs, *demand.sent),
    )
    late = Program(
        program.name + "_late",
        (*demand.received, *late_ins),
        tuple(demand.late),
        tuple(late_outs),
    )
    positions = tuple(i for i, v in enumerate(program.outs) if v not in late_vars)
    return Halves(early, late, tuple(demand.residuals), positions)


class _Demand:
    """What the late half has of the early values, and how it came by them."""

    def __init__(self, defs: dict[Var, tuple[int, Eqn]], choose: Choose) -> None:
        self.defs, self.choose = defs, choose
        self.have: set[Var] = set()
        self.early: list[Eqn] = []
        self.late: list[Eqn] = []
        self.residuals: list[Var] = []
        self.sent: list[Var] = []
        self.received: list[Var] = []

    def supply(self, wanted: Sequence[Var]) -> None:
        """Make values available late; depth first, without recursion: chains are long."""
        stack: list[Var | Eqn] = list(reversed(wanted))
        while stack:
            top = stack.pop()
            if isinstance(top, Eqn):  # its operands have been supplied
                if top.outs[0] not in self.have:
                    self.late.append(top)
                    self.have.update(top.outs)
                continue
            if top in self.have:
                continue
            let, eqn = self.defs.get(top, (-1, None))
            choice = Choice.SAVE if eqn is None or eqn.op.effects else self.choose(let)
            if eqn is not None and choice is Choice.RECOMPUTE:
                stack.append(eqn)
                stack.extend(x for x in reversed(eqn.ins) if isinstance(x, Var))
            else:
                self._cross(top, offload=choice is Choice.OFFLOAD)

    def _cross(self, v: Var, *, offload: bool) -> None:
        self.residuals.append(v)
        self.have.add(v)
        if not offload:
            self.sent.append(v)
            self.received.append(v)
            return
        parked = Var(replace(v.type, space=Space.HOST), v.name)
        self.early.append(Eqn((parked,), make("to_host"), (v,)))
        self.late.append(Eqn((v,), make("to_device"), (parked,)))
        self.sent.append(parked)
        self.received.append(parked)
