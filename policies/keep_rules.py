"""What people do by hand or by a rule of thumb about two stages, for comparison.

Keep nothing; keep everything that the unknown stage reads; or start from nothing and keep, while
there is room, what an order of merit says: own seconds per byte, seconds of all that it is made
from per byte, the smallest first, or the last one made (what is left in a cache that evicts the
least recently used).  What must be kept, because nothing can make it again, is kept by all.  None
of them looks at what else is kept.

Source: seconds per byte is the score of M. Rocklin's cachey (2015); least recently used as in
joblib's ``reduce_size``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from policies.closure_cut import ClosureCut, Corner
from policies.decision import Decision
from policies.errors import Infeasible
from policies.judge import judged
from policies.keeping import TwoStages, two_stages
from policies.kept_search import fits
from policies.policy import Limits, Policy, Progress, register
from policies.problem import Problem
from policies.staging import kept_of, order_of

__all__ = ["RULES", "merit"]

RULES = ("keep_nothing", "keep_read", "own_density", "deep_density", "smallest", "last_used")

_Merit = Callable[[TwoStages], NDArray[np.float64]]


def merit(stages: TwoStages, rule: str) -> NDArray[np.float64]:
    """Give the merit of each item by a rule: the highest is kept first.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=6, bytes=2)
    >>> graph.add_node("b", seconds=3, bytes=3)
    >>> graph.add_edge("a", "b")
    >>> stages = two_stages(Problem(graph))
    >>> merit(stages, "own_density").tolist(), merit(stages, "deep_density").tolist()
    ([3.0, 1.0], [3.0, 3.0])
    """
    return _MERITS[rule](stages)


def _own(stages: TwoStages) -> NDArray[np.float64]:
    compact = stages.compact
    return compact.seconds[compact.value_task] / np.maximum(1, stages.rest_bytes)


def _deep(stages: TwoStages) -> NDArray[np.float64]:
    """Seconds of a task and of all known tasks that it comes from, per byte of each result."""
    compact = stages.compact
    behind: list[int] = []  # bit sets of tasks
    for task in range(compact.n):
        mine = 1 << task if compact.known[task] else 0
        for item in compact.reads[compact.read_start[task] : compact.read_start[task + 1]]:
            mine |= behind[compact.value_task[item]]
        behind.append(mine)
    seconds = np.array([_sum(compact.seconds, mine) for mine in behind], np.float64)
    return seconds[compact.value_task] / np.maximum(1, stages.rest_bytes)


def _sum(seconds: NDArray[np.float64], tasks: int) -> float:
    bits = np.array([int(bit) for bit in reversed(f"{tasks:b}")], np.float64)
    return float(bits @ seconds[: len(bits)])


def _small(stages: TwoStages) -> NDArray[np.float64]:
    return -stages.rest_bytes.astype(np.float64)


def _recent(stages: TwoStages) -> NDArray[np.float64]:
    """The position at which an item was made or last read in the known stage."""
    compact = stages.compact
    used = compact.value_task.astype(np.float64)
    for task in np.flatnonzero(compact.known):
        used[compact.reads[compact.read_start[task] : compact.read_start[task + 1]]] = task
    return used


_MERITS: dict[str, _Merit] = {
    "own_density": _own,
    "deep_density": _deep,
    "smallest": _small,
    "last_used": _recent,
}


def _policy(rule: str) -> Policy:
    def decide(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
        del limits, progress
        began = time.perf_counter()
        stages = two_stages(problem)
        cut = ClosureCut(stages, problem.calls)
        corner = _by_rule(cut, rule, problem.limit.rest, problem.limit.resident)
        kept = kept_of(stages, corner)
        return judged(
            problem,
            order_of(problem, kept),
            policy=rule,
            budget_bytes=problem.limit.resolve(problem),
            solve_seconds=time.perf_counter() - began,
            kept=kept,
        )

    return decide


def _by_rule(cut: ClosureCut, rule: str, rest: int | None, resident: int | None) -> Corner:
    """The kept set that a rule chooses.

    Raises:
        Infeasible: what must be kept is over a cap, or ``keep_read`` is.
    """
    stages = cut.stages
    frontier = stages.need & ~stages.free & stages.keepable
    if rule == "keep_read":
        corner = cut.corner(frontier, cut.stays)
        if not fits(corner, rest, resident):
            cap = rest if rest is not None else resident or 0
            raise Infeasible(cap, lower_bound_bytes=0, min_bytes=corner.rest_bytes)
        return corner
    forced = ~stages.compact.rerun[stages.compact.value_task] & stages.keepable
    corner = cut.corner(forced & stages.compact.known[stages.compact.value_task], cut.stays)
    if not fits(corner, rest, resident):
        cap = rest if rest is not None else resident or 0
        raise Infeasible(cap, lower_bound_bytes=0)
    if rule == "keep_nothing":
        return corner
    score = merit(stages, rule)
    for item in sorted(np.flatnonzero(frontier & ~corner.kept), key=lambda i: (-score[i], i)):
        more = corner.kept.copy()
        more[item] = True
        added = cut.corner(more, cut.stays)
        if fits(added, rest, resident):
            corner = added
    return corner


for _rule in RULES:
    register(_rule)(_policy(_rule))
