"""Give up what is cheapest to make again, per byte, until the peak fits."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from policies.compact import Compact, compact_of, task_preds
from policies.decision import Decision
from policies.errors import Infeasible
from policies.floor import floor
from policies.judge import judged
from policies.policy import Limits, Progress, register
from policies.problem import Problem
from policies.rebuild import kept_always, price, rebuild, split_position

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
        bound = floor(problem)
        raise Infeasible(
            budget,
            lower_bound_bytes=bound.bytes,
            min_bytes=smallest + problem.fixed_bytes,
            witness=bound.witness,
            task=bound.task,
            proved=budget < bound.bytes,
        )
    return judged(
        problem,
        [compact.tasks[t] for t in found],
        policy="greedy",
        budget_bytes=budget,
        solve_seconds=time.perf_counter() - began,
    )


def smallest_peak(problem: Problem) -> int | None:
    """Give the smallest peak that dropping greedily comes across, reserved bytes included.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> smallest_peak(Problem(graph))
    4
    """
    return _drop(compact_of(problem, 0), 0)[1] + problem.fixed_bytes


def _drop(compact: Compact, budget: int) -> tuple[NDArray[np.int64] | None, int]:
    """Drop until the peak fits; give the order or None, and the smallest peak seen."""
    split = split_position(compact)
    keep = np.ones(compact.n, np.bool_)
    sequence = rebuild(compact, keep, split)
    peak, seconds, at = price(compact, sequence)
    smallest = peak
    preds = task_preds(compact)
    dropped: list[int] = []
    fixed = kept_always(compact) | ~compact.hold
    sizes = (
        np.add.reduceat(
            np.append(compact.value_bytes, 0),
            np.minimum(compact.made_start[:-1], len(compact.value_bytes)),
        )
        if compact.n
        else np.zeros(0, np.int64)
    )
    sizes[np.diff(compact.made_start) == 0] = 0
    while peak > budget:
        task = _cheapest(compact, keep, fixed, sizes, preds, sequence, at, split)
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


def _cheapest(
    compact: Compact,
    keep: NDArray[np.bool_],
    fixed: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    preds: tuple[NDArray[np.int64], NDArray[np.int64]],
    sequence: NDArray[np.int64],
    at: int,
    split: int,
) -> int:
    """Give the kept task with the fewest seconds per byte among those held over the peak, or -1.

    The peak may lie before the split: then anything that is held over the split helps or is
    neutral, and all of them are candidates.
    """
    held = _held_over(compact, sequence, at)
    near = keep & ~fixed & (sizes > 0)
    near[split:] = False
    over = near & held
    candidates = np.flatnonzero(over if over.any() else near)
    if candidates.size == 0:
        return -1
    start, before = preds
    cost = compact.seconds.copy()
    for task in range(split):
        for maker in before[start[task] : start[task + 1]]:
            if not keep[maker] and maker < split:
                cost[task] += cost[maker]
    return int(min(candidates, key=lambda t: (cost[t] / sizes[t], t)))


def _held_over(compact: Compact, sequence: NDArray[np.int64], at: int) -> NDArray[np.bool_]:
    """Tell whose first instance is alive at a position and read after it."""
    run: set[int] = {int(t) for t in sequence[: at + 1]}
    held = np.zeros(compact.n, np.bool_)
    again: set[int] = set()
    for task in sequence[at + 1 :]:
        for v in compact.reads[compact.read_start[task] : compact.read_start[task + 1]]:
            maker = int(compact.value_task[v])
            if maker in run and maker not in again:
                held[maker] = True
        again.add(int(task))
    return held
