"""From decisions to a program: every loop that does more than its let becomes a fused let."""

from ckpt.ir.kernel import Step
from ckpt.ir.program import Eqn, Program
from ckpt.ops.fused import Fused
from ckpt.simplify.choosing import Choosing, Loop
from ckpt.simplify.seen import Way


def assemble(choosing: Choosing) -> Program:
    """The program with the loops that were chosen; views that nobody reads are still there."""
    program = choosing.program
    eqns: list[Eqn] = []
    for let, eqn in enumerate(program.eqns):
        if let in choosing.gone:
            continue
        if let in choosing.steps:
            loop = choosing.loop(let)
            eqns.append(_fused(choosing, let, loop) if _does_more(eqn, loop) else eqn)
        else:
            eqns.append(eqn)
    return Program(program.name, program.ins, tuple(eqns), program.outs)


def _does_more(eqn: Eqn, loop: Loop) -> bool:
    """Whether a loop runs other lets, or reads repeated or rolled operands where they stand."""
    others = any(step.out is not eqn.outs[0] for step, _ in loop.steps)
    elementwise = bool(loop.steps)
    rolled = any(read.rolled for read in loop.leaves)
    less = elementwise and sum(x.type.nbytes for x in set(eqn.ins)) > loop.traffic
    return others or rolled or less


def _fused(choosing: Choosing, let: int, loop: Loop) -> Eqn:
    """One let for a loop; equal loops get equal ops, and so one kernel."""
    home = choosing.steps[let]
    operands = {read: number for number, read in enumerate(loop.leaves)}
    values: dict[tuple[int, Way], int] = {}
    steps: dict[Step, int] = {}
    for step, way in loop.steps:
        numbers: list[int] = []
        for read in step.reads:
            placed = read.along(way)
            maker = choosing.runs_inside(read.value, step.let)
            key = None if maker is None else (maker.let, placed.way)
            numbers.append(operands[placed] if key is None else values[key])
        what: Step = (step.code, step.out.type.dtype.value, tuple(numbers))
        values[step.let, way] = steps.setdefault(what, len(operands) + len(steps))
    whole = Way.straight(len(home.shape))
    last = home
    if home.reduce is not None:
        made = choosing.runs_inside(home.reads[0].value, let)
        assert made is not None
        last, whole = made, home.reads[0].way
    rolled = any(read.rolled for read in loop.leaves)
    op = Fused(
        shape=home.shape,
        axes=tuple(read.way.axes for read in loop.leaves),
        steps=tuple(steps),
        results=(values[last.let, whole],),
        reduce=home.reduce,
        by=tuple(read.way.by for read in loop.leaves) if rolled else (),
    )
    return Eqn((home.out,), op, tuple(read.value for read in loop.leaves), home.source)
