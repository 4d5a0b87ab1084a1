"""One problem at many budgets: plans and bounds are shared, and the curve is monotone.

A plan for a small budget fits a larger one, and a bound for a large budget holds for a smaller one.
So budgets are solved from the largest to the smallest, each plan is offered to all others, and at
the end no point is worse than a neighbour's plan or weaker than a neighbour's bound.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from policies.budget import Budget
from policies.decision import Decision, Status
from policies.errors import Infeasible
from policies.judge import SLACK, judged
from policies.policy import Limits, Progress
from policies.portfolio import plan
from policies.solve import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from policies.problem import Problem

__all__ = ["frontier"]


def frontier(
    problem: Problem,
    budgets: Sequence[Budget | int | str],
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> list[Decision | Infeasible]:
    """Solve one problem at many budgets.

    Args:
        problem: What to plan; its own budget is not read.
        budgets: In any order.
        limits: When to stop, for all budgets together.
        progress: Is called with news.

    Returns:
        For each budget, in the given order, a decision or why there is none.

    >>> import networkx as nx
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> problem = Problem(graph, first_order=("a", "b", "c", "d"))
    >>> [point.seconds for point in frontier(problem, [13, 12])]
    [4.0, 5.0]
    """
    limits = limits or Limits()
    if problem.options or problem.link is not None or problem.loads is not None:
        return _each(problem, budgets, limits, progress)
    began = time.perf_counter()
    caps = [Budget.of(b).resolve(problem.with_budget(b)) for b in budgets]
    queue = sorted(set(caps), reverse=True)
    found: dict[int, Decision | Infeasible] = {}
    pool: list[NDArray[np.int64]] = []
    for place, cap in enumerate(queue):
        share = len(queue) - place
        rest = limits.time_seconds
        if rest is not None:
            rest = max(0.0, 0.95 * rest - (time.perf_counter() - began)) / share
        each = replace(limits, time_seconds=rest, work=limits.work // len(queue))
        try:
            one, sequence = plan(
                problem.with_budget(cap), each, progress, warm=pool[-2:], enough=3e-4
            )
            pool.append(sequence)
            found[cap] = one
        except Infeasible as error:
            found[cap] = error
    _spread(problem, queue, found)
    return [found[cap] for cap in caps]


def _each(
    problem: Problem,
    budgets: Sequence[Budget | int | str],
    limits: Limits,
    progress: Progress | None,
) -> list[Decision | Infeasible]:
    """Solve every budget by itself; with options left open, neighbours do not help each other."""
    each = [problem.with_budget(b) for b in budgets]
    points = [_separately(one, limits, len(each), progress) for one in each]
    if problem.options:
        return points
    caps = [one.limit.resolve(one) for one in each]
    found = dict(zip(caps, points, strict=True))
    _spread(problem, sorted(found, reverse=True), found)
    return [found[cap] for cap in caps]


def _separately(
    problem: Problem, limits: Limits, count: int, progress: Progress | None
) -> Decision | Infeasible:
    """Solve one budget by itself, in its share of the limits."""
    rest = None if limits.time_seconds is None else limits.time_seconds / count
    each = replace(limits, time_seconds=rest, work=limits.work // count)
    try:
        return solve(problem, limits=each, progress=progress)
    except Infeasible as error:
        return error


def _spread(problem: Problem, queue: list[int], found: dict[int, Decision | Infeasible]) -> None:
    """Give every budget the best plan of those below it and the best bound of those above it."""
    bound, engine = 0.0, ""
    for cap in queue:
        point = found[cap]
        if isinstance(point, Decision):
            if point.bound_seconds > bound:
                bound, engine = point.bound_seconds, point.bound_engine
            elif bound > point.bound_seconds:
                found[cap] = replace(
                    point, bound_seconds=min(bound, point.seconds), bound_engine=engine
                )
    best: Decision | None = None
    for cap in reversed(queue):
        point = found[cap]
        if best is not None and (isinstance(point, Infeasible) or best.seconds < point.seconds):
            least = (0.0, "")
            if isinstance(point, Decision):
                least = (point.bound_seconds, point.bound_engine)
            point = judged(problem, best.order, policy="auto", budget_bytes=cap, solve_seconds=0.0)
            point = replace(
                point,
                bound_seconds=min(max(least[0], point.bound_seconds), point.seconds),
                bound_engine=least[1] or point.bound_engine,
                status=Status.FEASIBLE,
            )
            found[cap] = point
        if isinstance(point, Decision):
            if point.seconds <= point.bound_seconds * (1 + SLACK):
                found[cap] = point = replace(point, status=Status.OPTIMAL)
            best = point
