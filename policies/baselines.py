"""The plans that everybody knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from policies.compact import Compact, compact_of
from policies.decision import Decision, Status
from policies.floor import not_found
from policies.judge import judged
from policies.policy import Limits, Policy, Progress, register
from policies.problem import Problem
from policies.rebuild import kept_always, made_bytes, price, rebuild, split_position

__all__ = ["fastest_that_fits", "predicate", "recompute_all", "save_all", "sqrt"]


@register("save_all")
def save_all(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Run every task once, except those that may not be saved.

    Raises:
        Infeasible: its peak is above the budget.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> save_all(Problem(graph), limits=Limits()).order
    ('a',)
    """
    del limits, progress
    return fastest_that_fits(problem, "save_all", lambda compact: [np.ones(compact.n, np.bool_)])


@register("recompute_all")
def recompute_all(
    problem: Problem, *, limits: Limits, progress: Progress | None = None
) -> Decision:
    """Keep nothing across the split that can be made again.

    Raises:
        Infeasible: its peak is above the budget.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=1, bytes=4, stage="unknown")
    >>> graph.add_edge("a", "b")
    >>> recompute_all(Problem(graph), limits=Limits()).order
    ('a', 'a', 'b')
    """
    del limits, progress
    return fastest_that_fits(
        problem, "recompute_all", lambda compact: [np.zeros(compact.n, np.bool_)]
    )


@register("sqrt")
def sqrt(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Cut the early tasks into equal segments and keep only what crosses a cut.

    Every number of segments up to a few times the square root of the number of tasks is tried, by
    bytes made, and the fastest that fits is taken.

    Raises:
        Infeasible: no number of segments fits.

    Source: Tianqi Chen, Bing Xu, Chiyuan Zhang, Carlos Guestrin. Training Deep Nets with Sublinear
    Memory Cost. 2016.  What we changed: segments are equal in bytes, and several counts are tried.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> sqrt(Problem(graph), limits=Limits()).peak_bytes
    4
    """
    del limits, progress
    return fastest_that_fits(problem, "sqrt", _segments)


def predicate(keep: Callable[[Hashable], bool], name: str = "predicate") -> Policy:
    """Make a policy that keeps the tasks for which ``keep(task)`` is true.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> predicate(lambda task: task == "a")(Problem(graph), limits=Limits()).policy
    'predicate'
    """

    def policy(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
        del limits, progress
        return fastest_that_fits(
            problem,
            name,
            lambda compact: [np.fromiter(map(keep, compact.tasks), np.bool_, compact.n)],
        )

    return policy


def _segments(compact: Compact) -> list[NDArray[np.bool_]]:
    """Give what to keep for each number of segments."""
    split = split_position(compact)
    sizes = made_bytes(compact)[:split].astype(np.float64)
    last = np.arange(compact.n, dtype=np.int64)
    for t in range(split):
        for v in compact.reads[compact.read_start[t] : compact.read_start[t + 1]]:
            last[compact.value_task[v]] = t
    mass = np.cumsum(sizes)
    answer: list[NDArray[np.bool_]] = []
    for count in range(1, int(4 * np.sqrt(max(split, 1))) + 2):
        keep = np.zeros(compact.n, np.bool_)
        for index in range(1, count):
            cut = int(np.searchsorted(mass, mass[-1] * index / count)) if split else 0
            keep[: cut + 1] |= last[: cut + 1] > cut
        answer.append(keep)
    return answer


def fastest_that_fits(
    problem: Problem, name: str, candidates: Callable[[Compact], list[NDArray[np.bool_]]]
) -> Decision:
    """Give the fastest of the candidates that fits, as a decision.

    Args:
        problem: with its options chosen.
        name: of the policy.
        candidates: bool[n] each, what to keep across the split.

    Raises:
        Infeasible: none fits.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> everything = lambda compact: [np.ones(compact.n, np.bool_)]
    >>> fastest_that_fits(Problem(graph), "all", everything).peak_bytes
    4
    """
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    split = split_position(compact)
    best: tuple[float, NDArray[np.int64]] | None = None
    smallest: int | None = None
    seen: set[bytes] = set()
    for keep in candidates(compact):
        key = (keep | kept_always(compact)).tobytes()
        if key in seen:
            continue
        seen.add(key)
        sequence = rebuild(compact, keep, split)
        peak, seconds, _ = price(compact, sequence)
        smallest = peak if smallest is None else min(smallest, peak)
        if peak <= compact.budget and (best is None or seconds < best[0]):
            best = (seconds, sequence)
    if best is None:
        assert smallest is not None
        raise not_found(problem, budget, smallest + problem.fixed_bytes)
    return judged(
        problem,
        [compact.tasks[t] for t in best[1]],
        policy=name,
        budget_bytes=budget,
        status=Status.FEASIBLE,
        solve_seconds=time.perf_counter() - began,
    )
