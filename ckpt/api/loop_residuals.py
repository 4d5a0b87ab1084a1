"""Loops that keep what every step leaves behind: nothing is made again on the way back.

The body of a reverse loop begins with a state, makes again what it needs of the step, and goes back
over it. Cut in two, the first half runs with the step itself, and what crosses the cut is kept for
every step, one array per value; the second half alone is the way back. Both are plain loops, so
that what is kept are values like any other, and gradients have the same bits: the same lets run,
in another place.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ckpt.api.nested import joined
from ckpt.choice import Budget, Calls, stages_of, worth_keeping
from ckpt.cost.model import CostModel
from ckpt.ir.actions import slow_slots
from ckpt.ir.op import make
from ckpt.ir.program import Atom, Eqn, Lit, Program, Var
from ckpt.ir.storage import is_view, storage
from ckpt.ops.loop import Scan, reached, stacked
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.plan.nested import placed
from ckpt.simplify.cse import cse
from ckpt.simplify.dce import dce
from ckpt.simplify.sink import sink
from ckpt.simplify.substitution import rename

FROM_RESIDUALS = "from_residuals"
"""The name of the body of a loop that runs back over what another has kept."""

FROM_SOME_RESIDUALS = "from_some_residuals"
"""Likewise, where it makes some of that again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A loop there and back that keeps what its steps leave behind.

    Attributes:
        let: of the loop; the let `back` runs it back.
        forward: takes the place of the former.
        backward: lets that take the place of the latter.
        nbytes: of what is kept of all steps.
        programs: bodies of the two loops, the second called `FROM_RESIDUALS`, or
            `FROM_SOME_RESIDUALS`.
    """

    let: int
    back: int
    forward: Eqn
    backward: tuple[Eqn, ...]
    nbytes: int
    programs: tuple[Program, Program]


def with_residuals(program: Program, kept: Sequence[Kept]) -> Program:
    """The program with some of its loops replaced."""
    instead = {k.let: (k.forward,) for k in kept} | {k.back: k.backward for k in kept}
    eqns = [e for i, eqn in enumerate(program.eqns) for e in instead.get(i, (eqn,))]
    return Program(program.name, program.ins, tuple(eqns), program.outs)


def ways_of_keeping(program: Program, whole: Kept, costs: CostModel) -> list[Kept]:
    """How a loop is run if all or only some of what its steps leave behind is kept.

    The rest is made again on the way back: what is cheapest for the bytes that this saves, at
    several prices of a byte.

    Args:
        program: with every loop's programs planned.
        whole: keeps everything, from `keeping`.
        costs: seconds of a let.

    Returns:
        From few bytes to many; the one that keeps everything is the last.
    """
    reverse = program.eqns[whole.back].op
    assert isinstance(reverse, ScanReverse)
    n = reverse.consts + reverse.carry
    xs, body = n + reverse.xs, reverse.back
    at_hand = frozenset([*range(reverse.consts), *range(n, xs)])
    late = [i >= xs for i in range(len(body.ins))]
    stages = stages_of(body, late, costs, Budget(), Calls(at_hand=at_hand))
    some = [keeping(program, whole.let, among=kept) for kept in worth_keeping(stages, _PRICES)]
    return [*(k for k in some if k is not None and k.nbytes < whole.nbytes), whole]


_PRICES = 6
"""How many sets of values at most are offered to be kept."""


def keeping(program: Program, let: int, among: frozenset[Hashable] | None = None) -> Kept | None:
    """How a loop is run if what its steps leave behind is kept.

    Args:
        program: with every loop's programs planned.
        let: of a loop of known length with a tape.
        among: values of the body of the reverse loop: what else it reads is made again.

    Returns:
        None if several loops read its tape, if a step leaves nothing behind but states, or if what
        the way back reads besides is made only after the loop.
    """
    eqn = program.eqns[let]
    scan, tape = eqn.op, eqn.outs[-1]
    readers = [i for i, e in enumerate(program.eqns) if tape in e.ins]
    if not isinstance(scan, Scan) or len(readers) != 1:
        return None
    (back,) = readers
    reverse, ends = program.eqns[back].op, program.eqns[back].outs
    if not isinstance(reverse, ScanReverse) or ends[0] in program.outs:
        return None
    halves = _cut(reverse, among)
    again = None if halves is None else _making(reverse, reverse.back, halves[0])
    operands = None if again is None else _joined(program, let, back, again)
    if operands is None or halves is None:
        return None
    kept, late = halves
    whole = reverse.consts + reverse.carry
    body = _with_early(scan, reverse, kept, operands)
    arena = placed(body).arena_bytes
    extra = len(operands.consts) - scan.consts
    forward = Scan(body, scan.length, scan.consts + extra, scan.carry, scan.reverse, 0, arena)
    stacks = tuple(Var(stacked(v.type, scan.length), v.name) for v in kept)
    made = Eqn(
        (*eqn.outs[:-1], *stacks),
        forward,
        (*operands.consts, *eqn.ins[scan.consts : scan.consts + scan.carry], *operands.xs),
        eqn.source,
    )
    ins = program.eqns[back].ins
    sums = [Var(v.type, v.name) for v in late.outs[: reverse.dconsts]]
    zeros = [
        Eqn((v,), make("broadcast", shape=v.type.shape, axes=()), (Lit(0.0, v.type.dtype),))
        for v in sums
    ]
    moving = reverse.dconsts + reverse.dcarry
    arena = placed(late).arena_bytes
    op = Scan(late, scan.length, reverse.consts, moving, not scan.reverse, 0, arena)
    n = whole + reverse.xs + 1
    reads = (
        *(*ins[: reverse.consts], *sums, *ins[n : n + reverse.dcarry]),
        *(*stacks, *ins[whole : n - 1], *ins[n + reverse.dcarry :]),
    )
    backward = (*zeros, Eqn(ends[1:], op, reads, program.eqns[back].source))
    return Kept(let, back, made, backward, sum(v.type.nbytes for v in stacks), (body, late))


_LATER = -1


@dataclass(frozen=True, slots=True)
class _Operands:
    """What both loops read, each once, and which of them the way back reads again.

    What only the second half of the way back reads is not among them: its place is `_LATER`.
    """

    consts: tuple[Atom, ...]
    xs: tuple[Atom, ...]
    at_consts: tuple[int, ...]
    at_xs: tuple[int, ...]


def _joined(program: Program, let: int, back: int, early: Program) -> _Operands | None:
    """The operands of a loop, and those that what is made again reads; None if they come too late.

    Args:
        program: of both loops.
        let: of the loop.
        back: the let of its way back.
        early: `consts, state, x -> kept`, what is made again.
    """
    eqn, other = program.eqns[let], program.eqns[back]
    scan, reverse = eqn.op, other.op
    assert isinstance(scan, Scan)
    assert isinstance(reverse, ScanReverse)
    copied = {e.outs[0]: e.ins[0] for e in program.eqns if e.op.name == "copy"}
    known = {*program.ins, *(v for e in program.eqns[:let] for v in e.outs)}

    def origin(x: Atom) -> Atom:
        return copied.get(x, x) if isinstance(x, Var) else x

    reads = {*early.outs, *(x for e in early.eqns for x in e.ins)}

    def both(
        own: Sequence[Atom], wanted: Sequence[Atom], inner: Sequence[Var]
    ) -> tuple[list[Atom], list[int]] | None:
        joined, places = list(own), list[int]()
        for x, v in zip(wanted, inner, strict=True):
            if v not in reads:
                places.append(_LATER)
                continue
            found = [k for k, y in enumerate(joined) if origin(y) == origin(x)]
            if not found and isinstance(x, Var) and x not in known:
                return None
            if not found:
                joined.append(x)
            places.append(found[0] if found else len(joined) - 1)
        return joined, places

    whole, n = scan.consts + scan.carry, reverse.consts + reverse.carry
    state, again = eqn.ins[scan.consts : whole], other.ins[reverse.consts : n]
    consts = both(eqn.ins[: scan.consts], other.ins[: reverse.consts], early.ins[: reverse.consts])
    xs = both(eqn.ins[whole:], other.ins[n : n + reverse.xs], early.ins[n:])
    if consts is None or xs is None or list(map(origin, state)) != list(map(origin, again)):
        return None
    return _Operands(tuple(consts[0]), tuple(xs[0]), tuple(consts[1]), tuple(xs[1]))


def _cut(
    op: ScanReverse, among: frozenset[Hashable] | None
) -> tuple[tuple[Var, ...], Program] | None:
    """A step back without what is kept of the step; what depends on consts alone is made.

    Returns:
        What is kept and, as the body of a plain loop,
        `consts, sums, ct_state, kept, x, ct_y -> sums, ct_state, ct_x`; None if nothing is made
        again that could be kept, or a loop inside uses slow memory.
    """
    back, stored = op.back, storage(op.back)
    if any(isinstance(e.op, Scan) and slow_slots(e.op.actions) for e in back.eqns):
        return None  # slow memory holds the states of one step's loop, not of every step's
    whole = op.consts + op.carry
    n = whole + op.xs
    late, varying = set(back.ins[n:]), set(back.ins[op.consts : n])
    for eqn in back.eqns:
        for some in (late, varying):
            if some.intersection(x for x in eqn.ins if isinstance(x, Var)):
                some.update(eqn.outs)
    early = [e for e in back.eqns if varying.intersection(e.outs) and not late.intersection(e.outs)]
    ran = [e for e in early if not is_view(e, stored)]
    gone = [e for e in ran if among is None or not among.isdisjoint(e.outs)]
    rest = tuple(e for e in back.eqns if e not in gone)
    read = reached(Program(back.name, back.ins, rest, back.outs), back.outs)
    made = [*back.ins[op.consts : whole], *(v for e in gone for v in e.outs)]
    kept = tuple(v for v in made if v in read)
    if not any(v in read for e in gone for v in e.outs):
        return None
    at, ends = back.ins, n + op.dconsts + op.dcarry
    ins = (*at[: op.consts], *at[n:ends], *kept, *at[whole:n], *at[ends:])
    again = any(e in early and not is_view(e, stored) for e in rest)
    name = FROM_SOME_RESIDUALS if again else FROM_RESIDUALS
    second = dce(Program(name, ins, rest, back.outs))
    return kept, second if among is None else sink(second)


def _with_early(
    scan: Scan, reverse: ScanReverse, kept: Sequence[Var], operands: _Operands
) -> Program:
    """A step of the loop that also makes what is kept of it, after its other results."""

    def join(step: Program, back: Program) -> Program:
        return _joined_steps(scan, step, _making(reverse, back, kept), operands)

    return joined(scan.program, reverse.back, join)


def _making(op: ScanReverse, back: Program, kept: Sequence[Var]) -> Program:
    """`consts, state, x -> kept`."""
    n = op.consts + op.carry + op.xs
    return dce(Program(back.name, back.ins[:n], back.eqns, tuple(kept)))


def _joined_steps(scan: Scan, step: Program, early: Program, operands: _Operands) -> Program:
    """A step, and what is made of the same operands beside it."""
    whole = scan.consts + scan.carry
    own = step.ins
    more = [Var(x.type.plain()) for x in operands.consts[scan.consts :]]
    consts = [*own[: scan.consts], *more]
    n_own = len(own) - whole
    t = early.ins[len(operands.at_consts) + scan.carry :]
    rest = {at: v for at, v in zip(operands.at_xs, t, strict=True) if at >= n_own}
    xs = [*own[whole:], *(Var(rest[at].type, rest[at].name) for at in sorted(rest))]
    names: dict[Var, Atom] = dict(
        zip(
            early.ins,
            (
                *(early.ins[0] if k == _LATER else consts[k] for k in operands.at_consts),
                *own[scan.consts : whole],
                *(early.ins[0] if k == _LATER else xs[k] for k in operands.at_xs),
            ),
            strict=True,
        )
    )
    eqns = list(step.eqns)
    for eqn in early.eqns:
        fresh = tuple(Var(v.type, v.name) for v in eqn.outs)
        renamed = rename(eqn, names)
        names.update(zip(eqn.outs, fresh, strict=True))
        eqns.append(Eqn(fresh, renamed.op, renamed.ins, eqn.source))
    made = tuple(_var(names[v]) for v in early.outs)
    ins = (*consts, *own[scan.consts : whole], *xs)
    return cse(Program(step.name, ins, tuple(eqns), (*step.outs, *made)))


def _var(x: Atom) -> Var:
    assert isinstance(x, Var)
    return x
