"""MOCCASIN's model: at most two runs of each task, on a grid of stages."""

from __future__ import annotations

import time

import numpy as np

from policies.compact import compact_of
from policies.decision import Decision, Status
from policies.errors import InvalidProblem, Stopped
from policies.floor import not_found, refuse_below_floor
from policies.intervals import solve_intervals
from policies.judge import judged
from policies.policy import Limits, Progress, register
from policies.problem import Problem

__all__ = ["moccasin"]

MOST_TASKS = 400


@register("moccasin")
def moccasin(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Solve for one further run of each task, between two first runs, in the first order.

    Its bound speaks of two runs only, so it is not reported.

    Raises:
        Infeasible: not found.
        InvalidProblem: the order is free, which the grid cannot say.
        Stopped: too many tasks.

    Source: Burak Bartan, Haoming Li, Harris Teague, Christopher Lott, Bistra Dilkina. Moccasin:
    Efficient Tensor Rematerialization for Neural Networks. ICML 2023.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> moccasin(Problem(graph, budget=12, first_order=tuple("abcd")), limits=Limits()).seconds
    5.0
    """
    del progress
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    if compact.free_order:
        raise InvalidProblem("moccasin needs a fixed first order")
    if compact.n > MOST_TASKS:
        raise Stopped(f"{compact.n} tasks are too many for moccasin: at most {MOST_TASKS}")
    refuse_below_floor(problem, budget)
    runs = np.where(compact.rerun, 2, 1).astype(np.int64)
    if compact.n:
        runs[-1] = 1
    answer = solve_intervals(compact, runs, limits, stages=True)
    if answer.sequence is None:
        raise not_found(problem, budget)
    return judged(
        problem,
        [compact.tasks[t] for t in answer.sequence],
        policy="moccasin",
        budget_bytes=budget,
        status=Status.FEASIBLE if answer.complete else Status.TIME_LIMIT,
        solve_seconds=time.perf_counter() - began,
    )
