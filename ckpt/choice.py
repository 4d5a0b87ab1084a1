"""The seam: a program becomes a graph with costs; a decision comes back as an order of lets.

Everything that `ckpt` knows about `policies` is in this file. Down goes one `Problem`; up come
an order (which lets to run, in which a let may stand more than once) and, derived from it, one
choice per let.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx

from ckpt.cost.model import CostModel
from ckpt.cost.scratch import scratch_bytes
from ckpt.errors import BudgetError
from ckpt.ir.program import Program, Var
from ckpt.ir.storage import Stored, in_place_operands, is_view, storage
from ckpt.ir.text import names_of
from policies import (
    Budget,
    Choice,
    Decision,
    Fetch,
    Free,
    Infeasible,
    Limits,
    Link,
    Problem,
    Status,
    Store,
    Value,
    evaluate,
    frontier,
    solve,
)
from policies.budget import LARGEST_BYTES
from policies.explain import Story
from policies.explain import explain as explain_decision
from policies.glance import glance
from policies.greedy import smallest_peak
from policies.kept_report import KeptReport
from policies.kept_sets import worth_keeping
from policies.loops.actions import Action
from policies.loops.binomial import Binomial, forward_steps
from policies.loops.given import actions_of, proved
from policies.loops.online import Online
from policies.pebbling import pebbling_floor
from policies.policy import Progress, Step, is_ours, names
from policies.serialize import decision_from_json, decision_to_json, problem_to_json
from policies.unheard import unheard
from policies.units import format_bytes, format_seconds, parse_bytes, parse_rate

__all__ = [
    "ALIGNMENT_BYTES",
    "LARGEST_BYTES",
    "Action",
    "Binomial",
    "Budget",
    "Calls",
    "Choice",
    "Decision",
    "Fetch",
    "Free",
    "Infeasible",
    "KeptReport",
    "Limits",
    "Link",
    "Online",
    "Problem",
    "Progress",
    "Status",
    "Step",
    "Store",
    "Story",
    "Value",
    "actions_of",
    "budget_error",
    "choices_of",
    "decide",
    "decide_stages",
    "decision_from_json",
    "decision_to_json",
    "evaluate",
    "explain_decision",
    "fixed_bytes",
    "format_bytes",
    "format_seconds",
    "forward_steps",
    "frontier",
    "glance",
    "is_ours",
    "leanest",
    "names",
    "parse_bytes",
    "parse_rate",
    "pebbling_floor",
    "problem_of",
    "problem_to_json",
    "proved",
    "refusal",
    "running_lets",
    "running_order",
    "solve",
    "stages_of",
    "unheard",
    "worth_keeping",
]

ALIGNMENT_BYTES = 64
"""Every buffer of an arena starts at a multiple of this and is padded to one."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What the user asked of a value: `save` (never recompute) or `recompute` (never save)."""

    kind: str
    label: str


def running_lets(program: Program) -> list[int]:
    """Ids of the lets that make a buffer, in program order; views never run."""
    stored = storage(program)
    return [i for i, eqn in enumerate(program.eqns) if eqn.outs and not is_view(eqn, stored)]


def fixed_bytes(program: Program) -> int:
    """Bytes of inputs and outputs: alive throughout a step."""
    return program.input_bytes + sum(v.type.nbytes for v in program.outs)


def padded(nbytes: int) -> int:
    """Bytes that a buffer takes in an arena."""
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def problem_of(
    program: Program,
    costs: CostModel,
    budget: Budget | int | str | None = None,
    *,
    n_known: int | None = None,
) -> Problem:
    """The dataflow graph of a program: one task per running let, one value per buffer.

    Args:
        program: plain, in output normal form (`simplify.own_outputs`).
        costs: seconds of every let.
        budget: on everything alive during a step.
        n_known: lets before this id are of the known stage (the primal half); by default all.

    Returns:
        A problem whose tasks are let ids. Inputs and outputs are reserved throughout: outputs
        are fresh buffers taken before the step, so the values that they receive own no bytes of
        the arena.
    """
    stored = storage(program)
    pins = pins_of(program, stored)
    outputs = set(program.outs)
    graph: nx.DiGraph[int] = nx.DiGraph()
    owner: dict[Var, int] = {}
    lets = running_lets(program)
    for let in lets:
        eqn = program.eqns[let]
        values = tuple(
            Value((let, k), 0, must_live=True)
            if v in outputs
            else Value((let, k), padded(v.type.nbytes))
            for k, v in enumerate(eqn.outs)
        )
        read = {stored[x].root for x in eqn.ins if isinstance(x, Var)}
        made = [(v, owner[v]) for v in read if v in owner]
        taken = [
            stored[x].root
            for k in in_place_operands(eqn, stored)
            if isinstance(x := eqn.ins[k], Var)
        ]
        attributes: dict[str, object] = {}
        kinds = {pins[v].kind for v in eqn.outs if v in pins}
        if kinds:
            attributes["allowed"] = frozenset(
                {Choice.SAVE} if "save" in kinds else {Choice.RECOMPUTE}
            )
        graph.add_node(
            let,
            seconds=costs.seconds(eqn),
            values=values,
            workspace_bytes=padded(scratch_bytes(eqn, stored)),
            stage="known" if n_known is None or let < n_known else "unknown",
            effects=eqn.op.effects,
            overwrites=tuple(
                _name(program, owner[r], r) for r in taken if r in owner and r not in outputs
            ),
            **attributes,
        )
        for v in eqn.outs:
            owner[v] = let
        reads: dict[int, list[tuple[int, int]]] = {}
        for v, maker in made:
            reads.setdefault(maker, []).append(_name(program, maker, v))
        for maker, named in sorted(reads.items()):
            graph.add_edge(maker, let, reads=tuple(sorted(named)))
    return Problem(
        graph,
        budget=budget,
        first_order=tuple(lets),
        reserved_bytes=fixed_bytes(program),
    )


def _name(program: Program, let: int, v: Var) -> tuple[int, int]:
    return let, program.eqns[let].outs.index(v)


def pins_of(program: Program, stored: Mapping[Var, Stored]) -> dict[Var, Pin]:
    """What the user pinned: the root of every value that passed through `mark`."""
    pins: dict[Var, Pin] = {}
    for eqn in program.eqns:
        if eqn.op.name == "mark":
            params = dict(eqn.op.params())
            pins[stored[eqn.outs[0]].root] = Pin(params["kind"], params["label"])
    return pins


def decide(
    program: Program,
    problem: Problem,
    *,
    policy: str = "auto",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Decision:
    """Ask a policy which lets to run, in what order and how often.

    Args:
        program: whose lets are the tasks of the problem.
        problem: from `problem_of`, with its budget.
        policy: its name.
        limits: when to stop.
        progress: is called with news.

    Raises:
        BudgetError: no plan fits; says the smallest budget known to work, and what is alive
            together at the tightest let, with source lines.
    """
    try:
        return solve(problem, policy=policy, limits=limits or Limits(), progress=progress)
    except Infeasible as error:
        least = leanest(problem, progress) if policy == "auto" else None
        if least is not None and least.peak_bytes <= error.budget_bytes:
            # what was proved of it holds for a smaller budget than this one
            return replace(
                least,
                budget_bytes=error.budget_bytes,
                bound_seconds=least.baseline_seconds,
                bound_engine="every task runs once",
                status=Status.FEASIBLE,
            )
        raise budget_error(program, error, least) from error


def leanest(problem: Problem, progress: Progress | None = None) -> Decision | None:
    """A plan of little memory, to say what budget would work: found by bisection, not proved.

    The same for every budget of one problem, so that the budget it names is sure to work.
    """
    known = f"leanest, {problem.limit.reserve} bytes reserved"
    if known in problem.cache:
        return problem.cache[known]
    lowest, highest = pebbling_floor(problem).bytes, smallest_peak(problem)
    found: Decision | None = None
    for policy, budget in (("greedy", highest), *[("auto", None)] * _PROBES):
        cap = (lowest + highest) // 2 if budget is None else budget
        try:
            probed = problem.with_budget(Budget(bytes=cap, reserve=problem.limit.reserve))
            found = solve(probed, policy, limits=Limits(work=_PROBE_WORK), progress=progress)
            highest = min(highest, found.peak_bytes)
        except Infeasible:
            lowest = cap
    problem.cache[known] = found
    return found


_PROBES, _PROBE_WORK = 4, 2000


@dataclass(frozen=True, slots=True)
class Calls:
    """How the late stage is run.

    Attributes:
        number: how often per run of the early stage; may be an expected value.
        link: how what crosses is loaded; None if that takes no time.
        loads: "once", to stay, or in "every_call"; None if both stages share one memory.
        at_hand: indices of known inputs that the late stage receives anyway.
        constants: indices of those that are part of the function: at hand, and not counted among
            what a call holds.
    """

    number: float = 1.0
    link: Link | None = None
    loads: Literal["once", "every_call"] | None = None
    at_hand: frozenset[int] = frozenset()
    constants: frozenset[int] = frozenset()


def stages_of(
    program: Program,
    unknown: Sequence[bool],
    costs: CostModel,
    budget: Budget,
    calls: Calls | None = None,
) -> Problem:
    """The dataflow graph of a program in two stages: what its known inputs determine, and the rest.

    Known inputs are tasks too, `("in", i)`, that take no time and cannot run again: when the
    late stage needs one, its bytes cross as those of any other value.  The late stage has its other
    arguments, and the buffers of its results, from beginning to end.
    """
    told = calls or Calls()
    stored = storage(program)
    graph: nx.DiGraph[Hashable] = nx.DiGraph()
    owner: dict[Var, Hashable] = {}
    late: set[Var] = set()
    for i, (v, is_late) in enumerate(zip(program.ins, unknown, strict=True)):
        if is_late:
            late.add(v)
            continue
        owner[v] = ("in", i)
        nbytes = 0 if i in told.constants else v.type.nbytes
        value = Value(v, nbytes, at_hand=i in told.at_hand | told.constants)
        graph.add_node(("in", i), seconds=0.0, values=(value,), effects=True)
    pins = pins_of(program, stored)
    outputs = set(program.outs)
    reserved = sum(v.type.nbytes for v in late)
    tasks: dict[bool, list[Hashable]] = {False: list(graph), True: []}
    for let, eqn in enumerate(program.eqns):
        is_late = any(x in late for x in eqn.ins)
        late.update(eqn.outs if is_late else ())
        if not eqn.outs or is_view(eqn, stored):
            continue
        pinned = any(pins[v].kind == "save" for v in eqn.outs if v in pins)
        results = outputs.intersection(eqn.outs) if is_late else ()
        reserved += sum(v.type.nbytes for v in results)
        values = (
            Value(v, 0, must_live=True) if v in results else Value(v, v.type.nbytes)
            for v in eqn.outs
        )
        graph.add_node(
            let,
            seconds=costs.seconds(eqn),
            values=tuple(values),
            workspace_bytes=padded(scratch_bytes(eqn, stored)),
            stage="unknown" if is_late else "known",
            effects=eqn.op.effects or pinned,
        )
        tasks[is_late].append(let)
        owner.update((v, let) for v in eqn.outs)
        reads: dict[Hashable, list[Var]] = {}
        for root in dict.fromkeys(stored[x].root for x in eqn.ins if isinstance(x, Var)):
            if root in owner:
                reads.setdefault(owner[root], []).append(root)
        for maker, named in reads.items():
            graph.add_edge(maker, let, reads=tuple(named))
    order = (*tasks[False], *tasks[True])
    return Problem(graph, budget, told.link, order, reserved, told.number, loads=told.loads)


def decide_stages(
    problem: Problem,
    labels: Mapping[Hashable, str],
    *,
    policy: str = "auto",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Decision:
    """Ask a policy which known values to keep for the late stage.

    Args:
        problem: as `stages_of` gives it.
        labels: what messages call its values.
        policy: who decides.
        limits: how hard to search.
        progress: called while deciding.

    Raises:
        BudgetError: what must cross takes more than the budget, or no call was found within the
            budget on its peak.
    """
    try:
        return solve(problem, policy, limits=limits, progress=progress)
    except Infeasible as error:
        crossing = tuple((labels[v], n) for v, n in error.witness if v in labels)
        if error.proved:
            shown = "".join(f"  {format_bytes(n):>12}  {name}\n" for name, n in crossing)
            said = (
                f"the values that must cross take {format_bytes(error.lower_bound_bytes)}:\n{shown}"
                "Raise the budget, or let the late stage receive them as arguments (at_hand)."
            )
        else:
            least = error.min_bytes and f"; {format_bytes(error.min_bytes)} would do"
            said = (
                f"no way was found to run the late stage in {format_bytes(error.budget_bytes)}"
                f"{least or ''}. That is no proof. Raise the budget."
            )
        raise BudgetError(
            said,
            min_bytes=error.min_bytes,
            lower_bound_bytes=error.lower_bound_bytes,
            witness=crossing,
        ) from error


def running_order(decision: Decision) -> tuple[int, ...]:
    """The let ids of a decision's order, as they run."""
    return tuple(event for event in decision.order if isinstance(event, int))


def choices_of(program: Program, decision: Decision, n_known: int) -> dict[int, str]:
    """What was decided where there was something to decide, by let id.

    A let that runs again, or travels, says so; of the rest, those of the primal half whose result
    waits for a reader in the other half are saved. What is read at once and dies was no question.
    """
    stored = storage(program)
    late = {stored[x].root for e in program.eqns[n_known:] for x in e.ins if isinstance(x, Var)}
    found: dict[int, str] = {}
    for let, choice in decision.choice.items():
        if not isinstance(let, int):
            continue
        waits = let < n_known and any(v in late for v in program.eqns[let].outs)
        if choice is not Choice.SAVE or waits:
            found[let] = choice.value
    return found


def budget_error(program: Program, error: Infeasible, least: Decision | None = None) -> BudgetError:
    """Say an infeasible budget in the user's terms: ops and source lines instead of let ids."""
    printed = names_of(program)

    def said(value: object) -> str:
        if not (isinstance(value, tuple) and len(value) == 2):
            return str(value)
        kind, let = value if isinstance(value[0], str) else ("", value[0])
        eqn = program.eqns[let]
        where = f" ({eqn.source})" if eqn.source else ""
        if kind:
            return f"{kind} of {eqn.op.name}{where}"
        return f"{printed[eqn.outs[value[1]]]}: {eqn.op.name}{where}"

    inputs = program.input_bytes
    outputs = sum(v.type.nbytes for v in program.outs)
    # What policies sees as one reserved block are the inputs and outputs.
    witness = [(said(v), n) for v, n in error.witness if v != ("reserved",)]
    witness += [("inputs", inputs), ("outputs", outputs)]
    return refusal(error, least, witness, "let")


def refusal(
    error: Infeasible,
    least: Decision | None,
    witness: Sequence[tuple[str, int]],
    moment: str,
    hint: str = "",
) -> BudgetError:
    """Say an infeasible budget, what is alive at the tightest moment, and what to do.

    Args:
        error: what the policy says.
        least: the plan of least memory that is known.
        witness: what is alive together there, and its bytes.
        moment: what the user knows as one: a let, a run, a kernel.
        hint: what follows the advice to make the batch smaller.
    """
    known = [n for n in (error.min_bytes, least and least.peak_bytes) if n is not None]
    shown = sorted((w for w in witness if w[1]), key=lambda w: -w[1])[:8]
    lines = [
        f"no plan fits {format_bytes(error.budget_bytes)}"
        + ("" if error.proved else " (none was found; that is not a proof)"),
        f"alive together at the tightest {moment}:",
        *(f"  {format_bytes(size):>12}  {what}" for what, size in shown),
        f"no budget below {format_bytes(error.lower_bound_bytes)} can be met.",
    ]
    if known:
        lines.append(
            f"Raise the budget to {format_bytes(min(known))} ({min(known)} bytes), "
            f"which is known to work, or make the batch smaller{hint}."
        )
    return BudgetError(
        "\n".join(lines),
        min_bytes=min(known, default=None),
        lower_bound_bytes=error.lower_bound_bytes,
        witness=tuple(witness),
    )
