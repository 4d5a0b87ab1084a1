"""Exact for small graphs: intervals in CP-SAT, with a bound for any number of runs.

A model with at most ``r`` runs of a task says nothing about orders with more; but those cost at
least the task's seconds ``r`` times more than every task once.  When that is no better than the
plan in hand for every task, the model's answer is the answer.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.compact import Compact, compact_of
from policies.decision import Decision, Status
from policies.errors import Infeasible, Stopped
from policies.floor import not_found, refuse_below_floor
from policies.greedy import greedy
from policies.intervals import Answer, solve_intervals
from policies.judge import SLACK, judged
from policies.policy import Limits, Progress, Step, register
from policies.problem import Problem
from policies.rebuild import price

__all__ = ["cpsat"]

MOST_RUNS = 6
MOST_RUNS_BLIND = 3
"""While there is no plan at all, more runs than this per task are not tried."""
MOST_TOTAL = 600


@register("cpsat")
def cpsat(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Search orders with ever more runs per task until no more can help, or the work is spent.

    Raises:
        Infeasible: none found (this engine alone cannot prove it for any number of runs).
        Stopped: the graph is too large for the model.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> problem = Problem(graph, budget=12, first_order=("a", "b", "c", "d"))
    >>> cpsat(problem, limits=Limits()).status
    <Status.OPTIMAL: 'optimal'>
    """
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    if 2 * compact.n > MOST_TOTAL:
        raise Stopped(f"{compact.n} tasks are too many for intervals: at most {MOST_TOTAL // 2}")
    refuse_below_floor(problem, budget)
    base = float(compact.seconds.sum())
    best = _start(problem, compact)
    bound = base
    work = 0
    runs = _runs(compact, best, base, 2)
    while True:
        left = _left(limits, time.perf_counter() - began, work)
        answer = solve_intervals(compact, runs, left, hint=best[1] if best else None)
        work += answer.work
        best = _better(compact, best, answer)
        proved = _bound_for_all(compact, runs, answer, base, best)
        bound = max(bound, proved)
        if progress is not None:
            least = best[0] if best else None
            progress(Step(time.perf_counter() - began, "cpsat", least, bound))
        complete = best is not None and best[0] <= bound * (1 + SLACK)
        wanted = _runs(compact, best, base, int(runs.max()) + 1)
        grown = np.maximum(runs, wanted)
        finished = answer.complete or answer.infeasible
        if complete or not finished or (grown == runs).all():
            break
        if int(grown.sum()) > MOST_TOTAL or left.time_seconds == 0 or work >= limits.work:
            break
        if best is None and int(runs.max()) >= MOST_RUNS_BLIND:
            break
        runs = grown
    if best is None:
        raise not_found(problem, budget)
    return judged(
        problem,
        [compact.tasks[t] for t in best[1]],
        policy="cpsat",
        budget_bytes=budget,
        # copies to slow memory are not in the model: with a link only the trivial bound holds
        bound_seconds=0.0 if problem.link is not None else bound,
        bound_engine="cpsat",
        status=Status.FEASIBLE if finished else Status.TIME_LIMIT,
        solve_seconds=time.perf_counter() - began,
    )


def _left(limits: Limits, seconds: float, work: int) -> Limits:
    left = replace(limits, work=max(0, limits.work - work))
    if limits.time_seconds is None:
        return left
    return replace(left, time_seconds=max(0.0, limits.time_seconds - seconds))


def _start(problem: Problem, compact: Compact) -> tuple[float, NDArray[np.int64]] | None:
    """Give a plan to begin with, if an easy one is at hand."""
    try:
        found = greedy(problem, limits=Limits())
    except Infeasible:
        return None
    index = {task: t for t, task in enumerate(compact.tasks)}
    sequence = np.array([index[task] for task in found.order], np.int64)
    return price(compact, sequence)[1], sequence


def _runs(
    compact: Compact, best: tuple[float, NDArray[np.int64]] | None, base: float, most: int
) -> NDArray[np.int64]:
    """Give how many runs of each task can still help, up to a limit."""
    runs = np.ones(compact.n, np.int64)
    for t in np.flatnonzero(compact.rerun):
        useful = MOST_RUNS
        if best is not None and compact.seconds[t] > 0:
            # r runs cost r - 1 times its seconds more than one: below what the best costs more
            more = (best[0] - base) / float(compact.seconds[t])
            useful = max(1, min(MOST_RUNS, math.ceil(more * (1 - SLACK))))
        runs[t] = min(most, useful)
    return runs


def _bound_for_all(
    compact: Compact,
    runs: NDArray[np.int64],
    answer: Answer,
    base: float,
    best: tuple[float, NDArray[np.int64]] | None,
) -> float:
    """Turn a bound for so many runs into one for any number of runs."""
    bound = answer.bound_seconds
    for t in np.flatnonzero(compact.rerun):
        bound = min(bound, base + float(runs[t]) * float(compact.seconds[t]))
    return bound if math.isfinite(bound) else (best[0] if best else base)


def _better(
    compact: Compact, best: tuple[float, NDArray[np.int64]] | None, answer: Answer
) -> tuple[float, NDArray[np.int64]] | None:
    """Keep the better of two plans; only what the referee finds within the budget counts."""
    if answer.sequence is None:
        return best
    sequence = np.array(answer.sequence, np.int64)
    peak, seconds, _ = price(compact, sequence)
    if peak > compact.budget or (best is not None and best[0] <= seconds):
        return best
    return seconds, sequence
