"""Give up what is cheapest to make again, per byte, until the peak fits."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.compact import Compact, compact_of, task_preds
from policies.decision import Decision
from policies.floor import not_found
from policies.judge import judged
from policies.policy import Limits, Progress, register
from policies.problem import Problem
from policies.rebuild import kept_always, made_bytes, price, rebuild, split_position

__all__ = ["greedy", "smallest_peak"]


@register("greedy")
def greedy(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Drop, one after the other, the kept task with the fewest seconds per byte at the peak.

    A task costs its own seconds and those of the dropped tasks that must run before it.  When the
    peak fits, tasks are kept again as far as they still fit, the dearest first.

    Raises:
        Infeasible: nothing is left to drop and the peak is still too high.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> greedy(Problem(graph, budget=12), limits=Limits()).peak_bytes
    12
    """
    del limits, progress
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    found, smallest = _drop(compact, compact.budget)
    if found is None:
        raise not_found(problem, budget, smallest + problem.fixed_bytes)
    return judged(
        problem,
        [compact.tasks[t] for t in found],
        policy="greedy",
        budget_bytes=budget,
        solve_seconds=time.perf_counter() - began,
    )


def smallest_peak(problem: Problem) -> int:
    """Give the smallest peak that the quick policies come across, reserved bytes included.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> smallest_peak(Problem(graph))
    4
    """
    compact = compact_of(problem, 0)
    if "smallest_peak" not in problem.cache:
        problem.cache["smallest_peak"] = _drop(compact, 0)[1]
    return problem.cache["smallest_peak"] + problem.fixed_bytes


def _drop(compact: Compact, budget: int) -> tuple[NDArray[np.int64] | None, int]:
    """Drop until the peak fits; give the order or None, and the smallest peak seen."""
    split = split_position(compact)
    keep = np.ones(compact.n, np.bool_)
    sequence = rebuild(compact, keep, split)
    peak, seconds, at = price(compact, sequence)
    smallest = peak
    dropped: list[int] = []
    sizes = made_bytes(compact)
    open_ = ~kept_always(compact) & compact.hold & (sizes > 0)
    start, preds = task_preds(compact)
    while peak > budget:
        task = _cheapest(compact.seconds, sizes, open_, start, preds, keep, sequence, at, split)
        if task < 0:
            return None, smallest
        keep[task] = False
        dropped.append(task)
        sequence = rebuild(compact, keep, split)
        peak, seconds, at = price(compact, sequence)
        smallest = min(smallest, peak)
    for task in sorted(dropped, key=lambda t: (-compact.seconds[t], t)):
        keep[task] = True
        other = rebuild(compact, keep, split)
        other_peak, other_seconds, _ = price(compact, other)
        if other_peak <= budget and other_seconds <= seconds:
            sequence, seconds = other, other_seconds
        else:
            keep[task] = False
    return sequence, smallest


@njit(cache=True)
def _cheapest(  # noqa: PLR0917 (arrays, for the inner loop)
    seconds: NDArray[np.float64],
    sizes: NDArray[np.int64],
    open_: NDArray[np.bool_],
    start: NDArray[np.int64],
    preds: NDArray[np.int64],
    keep: NDArray[np.bool_],
    sequence: NDArray[np.int64],
    at: int,
    split: int,
) -> Any:
    """Give the kept task with the fewest seconds per byte among those held over the peak, or -1.

    When nothing that may be dropped is held over the peak, everything that is held over the split
    is a candidate.
    """
    n = seconds.size
    made = np.zeros(n, np.bool_)
    for p in range(at + 1):
        made[sequence[p]] = True
    held = np.zeros(n, np.bool_)
    for p in range(at + 1, sequence.size):
        for e in range(start[sequence[p]], start[sequence[p] + 1]):
            if made[preds[e]]:
                held[preds[e]] = True
        made[sequence[p]] = False
    cost = seconds.copy()
    best = worst = -1
    least = least_any = np.inf
    for t in range(split):
        for e in range(start[t], start[t + 1]):
            if not keep[preds[e]]:
                cost[t] += cost[preds[e]]
        if not keep[t] or not open_[t]:
            continue
        ratio = cost[t] / sizes[t]
        if held[t] and ratio < least:
            best, least = t, ratio
        if ratio < least_any:
            worst, least_any = t, ratio
    return best if best >= 0 else worst
