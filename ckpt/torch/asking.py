"""From a tape to a problem of the planner, and from its decision to a plan."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ckpt.choice import (
    Budget,
    Decision,
    Fetch,
    Free,
    Infeasible,
    Limits,
    Link,
    Problem,
    Status,
    Store,
    leanest,
    refusal,
    solve,
)
from ckpt.errors import BudgetError, TraceError
from ckpt.torch.copies import Event
from ckpt.torch.graph import graph_of
from ckpt.torch.plan import Plan
from ckpt.torch.priced import Priced
from ckpt.torch.private import several_processes
from ckpt.torch.tape import Tape
from ckpt.torch.wishes import Wishes

CarryOut = Callable[[Sequence[Event]], tuple[tuple[Event, ...], Priced]]
"""From the order of a decision to that of a route, and its cost."""

_TRIES = 4
"""Caps tried, each smaller by what the plan before went over when it was carried out."""


def problem_of(
    tape: Tape, budget: Budget | int | str | None = None, link: Link | None = None
) -> Problem:
    """The problem of a tape: what to keep, run again and, with a link, copy to host memory."""
    graph = graph_of(tape)
    order = tuple(run.name for run in tape.runs)
    return Problem(graph, budget, link, order, reserved_bytes=tape.held_bytes)


def events_of(decision: Decision) -> tuple[Event, ...]:
    """The order of a decision about a tape, whose tasks are named by text."""
    return tuple(e if isinstance(e, (Store, Fetch, Free)) else str(e) for e in decision.order)


def decide(tape: Tape, wishes: Wishes, carry_out: CarryOut, hint: str = "") -> Plan:
    """Ask the planner for a plan that fits once it is carried out.

    Processes that train together decide alike, because plans depend on nothing but the graph, the
    device file and the limits.

    Args:
        tape: what a step runs.
        wishes: budget, device, limits.
        carry_out: how the route runs an order; that may take more memory than the planner saw.
        hint: what else to do about a budget that cannot be met.

    Raises:
        TraceError: several processes train together, and the limits are in seconds.
        BudgetError: no plan fits; says what is alive at the tightest run of the smallest plan that
            is known, with source lines, and what budget that takes.
    """
    began = time.perf_counter()
    _refuse_clocks(wishes.limits)
    problem = problem_of(tape, wishes.budget, wishes.link)
    limit = problem.limit

    def plan_of(decision: Decision, **told: Any) -> Plan:
        order, cost = carry_out(events_of(decision))
        spent = time.perf_counter() - began
        return Plan(tape, order, cost, replace(decision, **told), wishes.route, spent)

    if limit.overhead is not None:
        decision = solve(problem, limits=wishes.limits)
        plan = plan_of(decision)
        return plan_of(decision, budget_bytes=max(decision.budget_bytes, plan.peak_bytes))
    allowed = cap = limit.resolve(problem)
    # What is proved under a smaller cap is not proved for what is allowed.
    proved: dict[str, Any] = {}
    refused: Infeasible | None = None
    for _ in range(_TRIES):
        asked = problem.with_budget(replace(limit, bytes=cap, fraction=None))
        try:
            decision = solve(asked, limits=wishes.limits)
        except Infeasible as error:
            refused = error
            break
        plan = plan_of(decision, budget_bytes=allowed, **proved)
        if plan.peak_bytes <= allowed:
            return plan
        cap = max(0, cap - (plan.peak_bytes - allowed))
        proved = {"bound_seconds": plan.decision.bound_seconds, "status": Status.FEASIBLE}
    smallest = leanest(problem)
    if smallest is None:
        raise _refused(tape, allowed, refused or _at_zero(problem), None, hint)
    proved = proved or {"bound_seconds": smallest.baseline_seconds, "status": Status.FEASIBLE}
    least = plan_of(smallest, budget_bytes=allowed, **proved)
    if least.peak_bytes <= allowed:
        return least
    raise _refused(tape, allowed, refused or _at_zero(problem), least, hint)


def _at_zero(problem: Problem) -> Infeasible:
    """What the planner says about no memory at all: how much is certainly needed."""
    try:
        solve(problem.with_budget(replace(problem.limit, bytes=0, fraction=None)))
    except Infeasible as error:
        return error
    raise AssertionError("what takes no memory fits every budget")


def _refuse_clocks(limits: Limits | None) -> None:
    if limits is not None and limits.time_seconds is not None and several_processes():
        raise TraceError(
            "limits in seconds end elsewhere in every process, and processes that train together "
            "must decide alike: give Limits(work=...)"
        )


def _refused(
    tape: Tape, allowed: int, error: Infeasible, least: Plan | None, hint: str
) -> BudgetError:
    """Say an infeasible budget in the user's terms.

    Args:
        tape: what a step runs.
        allowed: the budget in bytes.
        error: what the planner says about it, or about a smaller one.
        least: the smallest plan that is known, as it is carried out.
        hint: what else to do.
    """

    def said(value: Any) -> str:
        run = tape.by_name.get(tape.maker.get(value) or value)
        if run is None:
            return "parameters, buffers and arguments" if value == ("reserved",) else str(value)
        where = " ".join(part for part in (run.module, run.line) if part)
        return f"{value}: {run.op}" + (f" ({where})" if where else "")

    lowest = error.lower_bound_bytes
    alive, known = error.witness, None
    if least is not None:
        known = least.peak_bytes
        held = known - sum(size for _, size in least.cost.alive)
        alive = (*least.cost.alive, (("reserved",), held))
    told = Infeasible(allowed, lower_bound_bytes=lowest, min_bytes=known, proved=allowed < lowest)
    return refusal(told, None, [(said(value), size) for value, size in alive], "run", hint)
