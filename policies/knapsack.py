"""Min cut and knapsack, as the partitioner of PyTorch chooses what to save.

First a minimum cut gives the fewest bytes across the split with nothing dear recomputed; then a
knapsack over the values chooses which to keep within the bytes that are allowed, by the seconds
that keeping them saves.  What that framework caps is the bytes saved; here the cap is scanned until
the true peak fits, which favours it.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from policies.baselines import fastest_that_fits
from policies.compact import Compact, task_preds
from policies.decision import Decision
from policies.policy import Limits, Progress, register
from policies.problem import Problem
from policies.rebuild import kept_always, made_bytes, split_position

__all__ = ["knapsack"]

SCAN = 120


@register("knapsack")
def knapsack(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Scan the bytes that may be saved, and keep the fastest choice whose true peak fits.

    Raises:
        Infeasible: no choice fits.

    Source: Horace He, Shangdi Yu. Transcending Runtime-Memory Tradeoffs in Checkpointing by being
    Fusion Aware. MLSys 2023 (the cut); the activation memory budget of PyTorch 2 (the knapsack,
    solved greedily by seconds per byte).

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> knapsack(Problem(graph, budget=13), limits=Limits()).peak_bytes
    13
    """
    del limits, progress
    return fastest_that_fits(problem, "knapsack", _choices)


def _choices(compact: Compact) -> list[NDArray[np.bool_]]:
    """Give what to keep: from everything down to the minimum cut, and from there to nothing."""
    split = split_position(compact)
    everything = np.ones(compact.n, np.bool_)
    needed = _needed(compact, split)
    cut = _minimum_cut(compact, split, needed)
    sizes = made_bytes(compact)
    able = [t for t in needed if sizes[t] > 0 and compact.rerun[t]]
    able.sort(key=lambda t: (-compact.seconds[t] / sizes[t], t))
    beyond = [t for t in able if not cut[t]]
    nothing = cut.copy()
    nothing[able] = False
    answer = [everything]
    for start, items in ((cut, beyond), (nothing, able)):
        for step in range(SCAN + 1):
            keep = start.copy()
            keep[items[: len(items) * (SCAN - step) // SCAN]] = True
            answer.append(keep)
    return answer


def _needed(compact: Compact, split: int) -> list[int]:
    """Give the early tasks that late ones depend on, directly or not."""
    start, preds = task_preds(compact)
    reached = np.zeros(compact.n, np.bool_)
    for t in range(compact.n - 1, -1, -1):
        if t >= split or reached[t]:
            reached[preds[start[t] : start[t + 1]]] = True
    return np.flatnonzero(reached[:split]).tolist()


def _minimum_cut(compact: Compact, split: int, needed: list[int]) -> NDArray[np.bool_]:
    """Give the tasks to keep so that the fewest bytes cross the split."""
    start, preds = task_preds(compact)
    sizes = made_bytes(compact)
    fixed = kept_always(compact)
    flow: nx.DiGraph[object] = nx.DiGraph()
    flow.add_node("source")
    flow.add_node("sink")
    for t in needed:
        flow.add_edge(("in", t), ("out", t), capacity=int(sizes[t]))
        makers = preds[start[t] : start[t + 1]]
        if fixed[t] or makers.size == 0:
            flow.add_edge("source", ("in", t))
        for u in makers.tolist():
            flow.add_edge(("out", u), ("in", t))
    for t in range(split, compact.n):
        for u in preds[start[t] : start[t + 1]].tolist():
            if u < split:
                flow.add_edge(("out", u), "sink")
    keep = np.ones(compact.n, np.bool_)
    keep[needed] = False
    sides: tuple[object, tuple[set[object], set[object]]]
    sides = nx.minimum_cut(flow, "source", "sink")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportAssignmentType]
    above = sides[1][0]
    for t in needed:
        keep[t] = ("in", t) in above and ("out", t) not in above
    return keep
