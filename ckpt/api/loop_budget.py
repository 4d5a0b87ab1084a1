"""What each loop keeps: chosen together with everything else that a budget is for.

A loop that is run back offers a list of options, pairs of two choices: how many states its tape
keeps, where more slots mean fewer steps made again, and how the body of the reverse loop is
planned, where less memory means that it recomputes more of its own. Loops inside that body are
part of the second. Besides, a loop may keep what every step leaves behind, and make nothing again.
The options of all loops are merged into one list by bytes. What is left for everything else is
looked at for a few of them, and the policy plans the program of the best one as usual.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Generic, Protocol, TypeVar

from ckpt.api.derive import Joint
from ckpt.api.loop_residuals import Kept, keeping, ways_of_keeping, with_residuals
from ckpt.api.loop_search import cheapest
from ckpt.choice import Budget, forward_steps, problem_of
from ckpt.cost.model import CostModel
from ckpt.errors import BudgetError
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ir.tape import block_of, tape_type
from ckpt.ops.loop import Scan
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.ops.while_loop import SLOTS, While
from ckpt.plan.nested import placed
from ckpt.plan.plan import Plan

MOST_SLOTS = 4096
"""More are offered only to loops that then keep every state."""

_ALL_SLOTS, _GROWTH = 64, 1.08
_POINTS = 512
_FINALISTS, _TRIES = 2, 6
"""So many plans are compared, and no more are tried."""

_ENOUGH = 1e-3
_WORTH_A_SEARCH = 0.3
"""Of the seconds of a step: an option that is better by less is not looked for; and the body of
least memory, which takes a search, not if less than so much can be gained.
"""


class Planned(Protocol):
    """What a plan is asked for here."""

    @property
    def plan(self) -> Plan:
        """When and where everything runs."""
        ...


P = TypeVar("P", bound=Planned)


@dataclass(frozen=True, slots=True)
class Option:
    """What some loops keep, and what that costs.

    Attributes:
        slots: by the let that makes the tape.
        backs: by the let that runs the loop back, its body.
        nbytes: of the tapes, and of the arenas of the bodies.
        seconds: of steps made again and of steps back.
        residuals: of loops that keep what their steps leave behind, in place of a tape.
    """

    slots: Mapping[int, int]
    backs: Mapping[int, Program]
    nbytes: int
    seconds: float
    residuals: tuple[Kept, ...] = ()


Bodies = Callable[[Program], Sequence[Program]]


class Variants(Protocol):
    """Ways to run a body that are worth offering, itself the first."""

    def __call__(self, body: Program, *, least: bool) -> Sequence[Program]:
        """Give them; one more in the end, with the least memory that is known, if told."""
        ...


def loops_of(program: Program) -> list[int]:
    """The lets that make tapes whose slots are to be chosen: no schedule of its own says them."""
    return [
        i
        for i, e in enumerate(program.eqns)
        if isinstance(e.op, Scan | While) and e.op.slots and not getattr(e.op, "actions", "")
    ]


def with_slots(
    program: Program, slots: Mapping[int, int], backs: Mapping[int, Program] | None = None
) -> Program:
    """The same program with other tapes; every reverse loop follows the tape that it reads.

    Args:
        program: with every loop's programs planned.
        slots: by the let that makes the tape.
        backs: by the let that runs a loop back, another body for it.
    """
    bodies = backs or {}
    tapes: dict[Var, tuple[Var, int]] = {}
    eqns: list[Eqn] = []

    def renamed(x: Atom) -> Atom:
        return tapes[x][0] if isinstance(x, Var) and x in tapes else x

    for i, eqn in enumerate(program.eqns):
        op, outs = eqn.op, eqn.outs
        if isinstance(op, Scan | While) and i in slots:
            op = replace(op, slots=slots[i])
            tape = Var(tape_type(op.states, slots[i]), outs[-1].name)
            tapes[outs[-1]] = tape, slots[i]
            outs = (*outs[:-1], tape)
        elif isinstance(op, ScanReverse):
            read = next((x for x in eqn.ins if isinstance(x, Var) and x in tapes), None)
            if read is not None:
                kept, n = tapes[read]
                steps = op.expected_steps
                again = forward_steps(steps, n) - (steps - 1)
                op = replace(op, slots=n, again=again)
                if i in bodies:
                    op = replace(op, back=bodies[i], arena_bytes=_arena(op.advance, bodies[i]))
                outs = (Var(kept.type, outs[0].name), *outs[1:])
        ins = tuple(map(renamed, eqn.ins))
        same = op is eqn.op and ins == eqn.ins  # what is known of a let stays known
        eqns.append(eqn if same else Eqn(outs, op, ins, eqn.source))
    return Program(program.name, program.ins, tuple(eqns), program.outs)


def options_of(
    program: Program, costs: CostModel, variants: Bodies, kept: Mapping[int, Sequence[Kept]]
) -> list[list[Option]]:
    """The options of each loop, from the least memory to the least time.

    Args:
        program: with every loop's programs planned.
        costs: seconds of a let.
        variants: of the body of a loop that runs back.
        kept: by the let of a loop, how it is run if it keeps what its steps leave behind.
    """
    return [
        _pareto(list(_options(program, let, costs, variants, kept[let])))
        for let in loops_of(program)
    ]


def _together(loops: Iterable[Sequence[Option]]) -> list[Option]:
    """The options of all loops together, likewise."""
    merged = [Option({}, {}, 0, 0.0)]
    for own in loops:
        both = [
            Option(
                {**a.slots, **b.slots},
                {**a.backs, **b.backs},
                a.nbytes + b.nbytes,
                a.seconds + b.seconds,
                (*a.residuals, *b.residuals),
            )
            for a in merged
            for b in own
        ]
        merged = _thinned(_pareto(both))
    return merged


def _options(
    program: Program, let: int, costs: CostModel, variants: Bodies, kept: Sequence[Kept]
) -> Iterator[Option]:
    eqn = program.eqns[let]
    op, tape = eqn.op, eqn.outs[-1]
    assert isinstance(op, Scan | While)
    reverses = {
        i: e.op
        for i, e in enumerate(program.eqns)
        if isinstance(e.op, ScanReverse) and tape in e.ins
    }
    bodies: list[Mapping[int, Program]] = [{i: r.back for i, r in reverses.items()}]
    state = block_of(op.states).nbytes
    for i, r in reverses.items() if len(reverses) == 1 else ():
        # a body whose own values are few beside a state has nothing to offer
        if 2 * placed(r.back).arena_bytes >= state:
            bodies = [{i: back} for back in variants(r.back)]
    steps = op.length if isinstance(op, Scan) else op.expected_steps
    advance = sum(costs.program_seconds(r.advance) for r in reverses.values())
    for backs in bodies:
        arena = sum(_arena(reverses[i].advance, back) for i, back in backs.items())
        seconds = steps * sum(map(costs.program_seconds, backs.values()))
        # how many states a loop of unknown length can use is not known either
        for slots in slots_to_offer(steps if isinstance(op, Scan) else min(steps, SLOTS)):
            again = forward_steps(steps, slots) - (steps - 1)
            nbytes = tape_type(op.states, slots).nbytes + arena
            yield Option({let: slots}, backs, nbytes, seconds + again * advance)
    for some in kept:
        forward, back = some.programs
        more = costs.program_seconds(forward) - costs.program_seconds(op.program)
        seconds = steps * (more + costs.program_seconds(back))
        yield Option({}, {}, some.nbytes + _arena(forward, back), seconds, (some,))


def _arena(*programs: Program) -> int:
    """Bytes that programs which take turns need."""
    return max(placed(p).arena_bytes for p in programs)


def slots_to_offer(length: int) -> list[int]:
    """Numbers of slots to offer: each small one, then ever fewer, then one per step."""
    found = list(range(1, min(length, _ALL_SLOTS) + 1))
    while found[-1] * _GROWTH < min(length, MOST_SLOTS):
        found.append(int(found[-1] * _GROWTH))
    return found if found[-1] == length else [*found, length]


def _pareto(options: Sequence[Option]) -> list[Option]:
    """Those that are better than every one with fewer bytes."""
    best: list[Option] = []
    for option in sorted(options, key=lambda o: (o.nbytes, o.seconds)):
        if not best or option.seconds < best[-1].seconds:
            best.append(option)
    return best


def _thinned(options: Sequence[Option]) -> list[Option]:
    step = -(-len(options) // _POINTS)
    return [o for i, o in enumerate(options) if i % step == 0 or i == len(options) - 1]


class Glance(Protocol):
    """A first look at a program whose slots are chosen."""

    def __call__(self, joint: Joint, worth: float, *, budget: Budget) -> tuple[float, float]:
        """Bounds of the seconds of what has to run again; see `policies.glance`."""
        ...


@dataclass(frozen=True, slots=True)
class Planner(Generic[P]):
    """Who plans a program whose slots are chosen.

    Attributes:
        plan: thoroughly, or raises `BudgetError`.
        glance: says quickly about what has to run again.
        variants: other ways to run a body.
    """

    plan: Callable[[Joint, Budget], P]
    glance: Glance
    variants: Variants


def plan_loops(joint: Joint, budget: Budget, costs: CostModel, planner: Planner[P]) -> P:
    """The best plan of a program with loops, over all numbers of slots.

    Args:
        joint: with a slot for every step of every loop.
        budget: on everything alive during a step.
        costs: seconds of a let.
        planner: plans a program whose slots are chosen.

    Raises:
        BudgetError: no plan fits, not even with one slot a loop.
    """
    uncapped = budget == Budget(reserve=budget.reserve)

    def made(option: Option) -> Joint:
        chosen = with_slots(joint.program, option.slots, option.backs)
        return Joint(with_residuals(chosen, option.residuals), joint.n_known)

    def tried(option: Option, cap: Budget) -> P | None:
        try:
            return planner.plan(made(option), cap)
        except BudgetError:
            return None

    program = joint.program
    whole = {let: [k] if (k := keeping(program, let)) else [] for let in loops_of(program)}
    full = made(_together(options_of(program, costs, lambda body: (body,), whole))[-1])
    fastest = planner.plan(full, Budget(reserve=budget.reserve))
    if uncapped:
        return fastest
    if budget.overhead is None:
        problem = problem_of(full.program, costs, budget, n_known=joint.n_known)
        bytes_allowed = budget.resolve(problem)
        budget = Budget(bytes=bytes_allowed, reserve=budget.reserve)
        if fastest.plan.peak_bytes <= bytes_allowed:
            return planner.plan(full, budget)
    kept = {
        let: [way for k in ways for way in ways_of_keeping(program, k, costs)]
        for let, ways in whole.items()
    }
    if budget.overhead is not None:
        lists = options_of(program, costs, partial(planner.variants, least=False), kept)
        return _leanest(_together(lists), fastest, budget, tried)
    found = _promising(
        program,
        (costs, kept, planner.variants),
        lambda option, worth: planner.glance(made(option), worth, budget=budget),
        _ENOUGH * fastest.plan.seconds,
    )
    plans: list[P] = []
    for option in found[:_TRIES]:
        plan = tried(option, budget)
        plans += [plan] if plan else []
        if len(plans) == _FINALISTS:
            break
    if plans:
        return min(plans, key=lambda p: p.plan.seconds)
    # its error says what would be enough
    leaner = options_of(program, costs, partial(planner.variants, least=True), kept)
    return planner.plan(made(_together(leaner)[0]), budget)


def _promising(
    program: Program,
    told: tuple[CostModel, Mapping[int, Sequence[Kept]], Variants],
    glance: Callable[[Option, float], tuple[float, float]],
    enough: float,
) -> list[Option]:
    """Options worth planning, the best one first.

    The memory of a tape is not that of a body, which is free again when the loop has come back, so
    no list of both is in order of what is left for everything else. In each list that is looked at
    the bodies are the same; the last one mixes them, where there are loops enough for that. Bodies
    in less memory are made only if they may be of use: none runs faster than the given one.
    """
    costs, kept, variants = told
    given = options_of(program, costs, lambda body: (body,), kept)
    found = _look(_together(given), glance, enough, inf)
    tapes = [min(o.seconds for o in own if not o.residuals) for own in given]
    fastest = [own[-1].seconds for own in given]
    bound = sum(fastest) + min(t - f for t, f in zip(tapes, fastest, strict=True))
    reverses = [e.op.back for e in program.eqns if isinstance(e.op, ScanReverse)]
    looked = 1
    for least, gain in ((False, enough), (True, _WORTH_A_SEARCH / _ENOUGH * enough)):
        if min((t for t, _ in found), default=inf) <= bound + gain:
            break
        more = partial(variants, least=least)
        most = max((len(more(body)) for body in reverses), default=1)
        for k in range(looked, most):
            same = options_of(program, costs, partial(_at, more, k), kept)
            found += _look(_together(same), glance, enough, min((t for t, _ in found), default=inf))
        if len(given) > 1 and most > looked:
            mixed = _together(options_of(program, costs, more, kept))
            found += _look(mixed, glance, enough, min((t for t, _ in found), default=inf))
        looked = most
    return [o for _, o in sorted(found, key=lambda pair: pair[0])]


def _at(variants: Bodies, k: int, body: Program) -> Sequence[Program]:
    """One variant alone: the leanest if there are fewer."""
    return variants(body)[: k + 1][-1:]


def _look(
    options: Sequence[Option],
    glance: Callable[[Option, float], tuple[float, float]],
    enough: float,
    known: float,
) -> list[tuple[float, Option]]:
    """Options with the seconds of a step beyond those of running everything once."""
    sums = cheapest(
        [o.seconds for o in options],
        lambda i, worth: glance(options[i], worth),
        enough=enough,
        known=known,
    )
    return [(total, options[i]) for i, total in sums]


def _leanest(
    options: Sequence[Option],
    fastest: P,
    budget: Budget,
    tried: Callable[[Option, Budget], P | None],
) -> P:
    """The plan of least memory that takes no more than so much longer than the fastest."""
    assert budget.overhead is not None
    most = fastest.plan.seconds * (1 + budget.overhead)
    spare = most - fastest.plan.seconds
    allowed = [o for o in options if o.seconds - options[-1].seconds <= spare]
    best = fastest
    for option in allowed[:: max(1, len(allowed) // 8)]:
        slower = fastest.plan.seconds + option.seconds - options[-1].seconds
        found = tried(option, Budget(overhead=max(0.0, most / slower - 1), reserve=budget.reserve))
        if found is not None and found.plan.peak_bytes < best.plan.peak_bytes:
            best = found
    return best
