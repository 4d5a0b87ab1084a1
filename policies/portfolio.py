"""The policy "auto": bounds and searches that improve one answer until it is told to stop.

It keeps the best plan and the best bound at every moment.  A deadline, the work limit, Ctrl-C or a
failing engine ends an engine and never loses them.  With a work limit and no time limit, the answer
is a function of the problem and the seed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from policies.compact import compact_of
from policies.cutbound import CutBounder
from policies.decision import Decision, Event, Status
from policies.errors import Infeasible
from policies.evaluate import sequence_of
from policies.fixed_order import improve
from policies.floor import floor
from policies.incumbent import ENOUGH, PLENTY, Incumbent
from policies.judge import judged
from policies.lifetimes import first_unknown
from policies.linkbound import link_bound
from policies.mincut import best_price
from policies.offload import can_offload, with_copies
from policies.ordering import always_between, permuted, search_order
from policies.pebbling import pebbling_floor
from policies.playback import machine_of
from policies.policy import Limits, Progress, Step, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.problem import Problem

__all__ = ["auto", "plan"]

TIGHT = 1.6
"""Budgets below the simple floor times this are held against the dear floor before any search."""

LARGE = 5000
"""Graphs with more tasks are left at a gap of PLENTY, whatever the time limit."""


@register("auto")
def auto(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Find a plan near the optimum, and prove how near.

    Args:
        problem: With its options chosen.
        limits: When to stop.
        progress: Is called whenever the plan or the bound improves.

    Returns:
        The best plan found, with the best bound proved.

    Raises:
        Infeasible: proved, or nothing found within the limits.

    >>> import networkx as nx
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> auto(Problem(graph, budget=12, first_order=("a", "b", "c", "d")), limits=Limits()).seconds
    5.0
    """
    return plan(problem, limits, progress)[0]


def plan(
    problem: Problem,
    limits: Limits,
    progress: Progress | None,
    warm: Sequence[NDArray[np.int64]] = (),
    enough: float = PLENTY,
) -> tuple[Decision, NDArray[np.int64]]:
    """Do what `auto` does, starting from plans that are known.

    Args:
        problem: With its options chosen.
        limits: When to stop.
        progress: Is called with news.
        warm: Plans as task indices, for other budgets or other costs of the same graph.
        enough: A gap, as a fraction, that ends the search even if there is time left.

    Returns:
        The decision, and its plan as task indices.

    Raises:
        Infeasible: proved, or nothing found within the limits.
    """
    budget = problem.limit.resolve(problem)
    if budget < TIGHT * floor(problem).bytes and budget < pebbling_floor(problem).bytes:
        raise _refusal(problem, budget, proved=True)
    compact = compact_of(problem, budget)
    if "bounder" not in problem.cache:
        problem.cache["bounder"] = CutBounder(compact)
    best = Incumbent(compact, _share(problem, limits), progress, problem.calls)
    quick = limits.time_seconds is None or len(warm) > 0 or compact.n > LARGE
    best.enough = enough if quick else ENOUGH
    try:
        if compact.free_order:
            _solve_free(best, problem, problem.cache["bounder"])
        else:
            improve(best, problem, problem.cache["bounder"], warm)
    except KeyboardInterrupt:
        best.interrupted = True
        if best.sequence is None or not limits.keep_on_interrupt:
            raise
    order = _with_copies(best, problem, limits)
    if order is None:
        raise _refusal(problem, budget, proved=bool(best.impossible))
    decision = judged(
        problem,
        order,
        policy="auto",
        budget_bytes=budget,
        bound_seconds=best.bound,
        bound_engine=best.engine,
        status=Status.TIME_LIMIT if best.interrupted else Status.FEASIBLE,
        solve_seconds=best.elapsed,
    )
    return decision, sequence_of(compact, decision.runs) if best.sequence is None else best.sequence


def _refusal(problem: Problem, budget: int, *, proved: bool) -> Infeasible:
    """Make the refusal: with the best floor, and what is alive together there."""
    least = pebbling_floor(problem)
    proved = proved or budget < least.bytes
    return Infeasible(
        budget,
        lower_bound_bytes=max(least.bytes, budget + 1) if proved else least.bytes,
        witness=least.witness,
        task=least.task,
        proved=proved,
    )


def _share(problem: Problem, limits: Limits) -> Limits:
    """Give the limits for everything but copies: a third of them where there is a link."""
    if not can_offload(problem):
        return limits
    seconds = None if limits.time_seconds is None else limits.time_seconds / 3
    return replace(limits, time_seconds=seconds, work=limits.work // 3)


def _with_copies(best: Incumbent, source: Problem, limits: Limits) -> Sequence[Event] | None:
    """Give the order of the best plan; with a link, of a plan with copies if that is better."""
    tasks = best.problem.tasks
    alone = None if best.sequence is None else [tasks[t] for t in best.sequence]
    capped = source.limit.rest is not None or source.limit.resident is not None
    if not can_offload(source) or capped or best.interrupted or best.gap <= best.enough:
        return alone
    seconds, before = None, best.elapsed
    if limits.time_seconds is not None:
        seconds = max(0.0, limits.time_seconds - before)
    rest = replace(limits, time_seconds=seconds, work=max(0, limits.work - int(best.work)))

    def news(step: Step) -> None:
        if best.progress is not None and step.seconds is not None and step.seconds < best.priced:
            best.progress(replace(step, elapsed_seconds=before + step.elapsed_seconds))

    try:
        copies = with_copies(source, best.sequence, rest, news, best.bound)
    except KeyboardInterrupt:
        best.interrupted = True
        if alone is None or not limits.keep_on_interrupt:
            raise
        return alone
    best.interrupted = copies.interrupted
    return copies.order if copies.seconds < best.priced else alone


def _solve_free(best: Incumbent, source: Problem, bounder: CutBounder) -> None:
    """Search orders alone, then with recomputation on top of the given and the best order."""
    problem = best.problem
    if not problem.n:
        best.offer(np.zeros(0, np.int64), "save all")
        return
    split = first_unknown(problem)
    for task in (split - 1, split):
        if not can_offload(source) and 0 <= task < problem.n and always_between(problem, task):
            value, _ = best_price(
                bounder.network,
                bounder.need(task),
                bounder.weight(task),
                bounder.room(task, problem.budget),
                0.0,
            )
            best.prove(value, "min cut at one stage")
    if can_offload(source):
        linked = link_bound(machine_of(source, problem), problem, bounder)
        best.prove(linked.seconds, linked.engine)
    steps = max(200, 40_000_000 // (problem.n + len(problem.reads)) // 4)
    steps = min(steps, 60_000)
    order, excess = search_order(problem, best.limits.seed, steps)
    for again, heat in enumerate((0.3, 0.02, 0.1, 0.6)):
        best.work += 0.3 * best.limits.work / 5
        if excess == 0 or best.left() <= 0:
            break
        other, less = search_order(problem, best.limits.seed + again + 1, steps, heat)
        if less < excess:
            order, excess = other, less
    if excess == 0:
        best.offer(order, "order search")
    for one in (order, np.arange(problem.n, dtype=np.int64)):
        if best.done():
            return
        fixed = permuted(problem, one)
        rest = None if best.limits.time_seconds is None else 0.5 * max(0.0, best.left())
        limits = Limits(rest, max(0, int((best.limits.work - best.work) / 2)), best.limits.seed)
        inner = Incumbent(fixed, limits, None, best.calls)
        inner.enough = best.enough
        improve(inner, source, CutBounder(fixed), ())
        best.work += inner.work
        if inner.sequence is not None:
            best.offer(one[inner.sequence], "order search and recompute sets")
