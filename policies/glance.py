"""What a budget costs at a first look: a bound and, where that is worth it, a plan."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from policies.compact import compact_of
from policies.cutbound import CutBounder
from policies.errors import Infeasible
from policies.floor import floor
from policies.policy import Limits
from policies.solve import solve

if TYPE_CHECKING:
    from policies.problem import Problem

__all__ = ["glance"]

WORK = 500
"""How hard a plan is looked for that is not found at once."""


def glance(problem: Problem, worth: float = inf) -> tuple[float, float]:
    """Bound the seconds of what has to run again, from below and from above.

    Args:
        problem: with its budget, options chosen and stages in one memory.
        worth: no plan is looked for that would run more seconds again.

    Returns:
        No plan runs less again, and a plan is known that runs no more; infinite where nothing
        fits, or where no plan was found.

    >>> import networkx as nx
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> whole = Problem(graph, first_order=("a", "b", "c", "d"))
    >>> [glance(whole.with_budget(budget)) for budget in (13, 12, 11)]
    [(0.0, 0.0), (0.25, 1.0), (inf, inf)]
    """
    budget = problem.limit.resolve(problem)
    if budget < floor(problem).bytes:
        return inf, inf
    compact = compact_of(problem, budget)
    if "bounder" not in problem.cache:
        problem.cache["bounder"] = CutBounder(compact)
    bound = 0.0
    if not compact.free_order:
        bound = problem.cache["bounder"].bound(compact.budget).seconds
    for work in (0, WORK) if bound < worth else ():
        try:
            found = solve(problem, limits=Limits(work=work))
        except Infeasible as error:
            if error.proved:
                return inf, inf
            continue
        again = found.seconds - found.baseline_seconds
        return min(bound, again), again
    return bound, inf
