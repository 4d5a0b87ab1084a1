"""Two stages, exactly: which known values to keep for the unknown stage, within their bytes.

Without a cap the question is a minimum cut, with one it is that cut and one knapsack row: every
known value that a later task reads is kept, or the task that makes it runs again, which asks the
same of what that task reads.  The program below has one variable per value and per task, is
integral without the knapsack row, and is solved with it by branch and bound.

Source: the cut is that of project selection (Picard, Maximal closure of a graph and applications to
combinatorial problems, 1976); Helix (Xin et al., Accelerating human-in-the-loop machine learning,
2018) uses it for what to keep between runs of a workflow.  The knapsack row is ours.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Hashable

from ortools.math_opt.python import mathopt

from policies.decision import Decision, Status
from policies.errors import Infeasible
from policies.judge import baseline_seconds, judged
from policies.policy import Limits, Progress, register
from policies.problem import Choice, Problem

__all__ = ["staging"]

NODES_PER_UNIT = 1
"""Branch-and-bound nodes per unit of work."""


@register("staging")
def staging(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Keep the values that make the unknown stage cheapest within ``Budget(rest=...)``.

    The budget on the peak plays no part in the choice; the referee judges it afterwards.

    Raises:
        Infeasible: what must cross, because nothing can make it again, takes more than the cap.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("data", seconds=0, bytes=100, effects=True)
    >>> graph.add_node("factor", seconds=9, bytes=80)
    >>> graph.add_node("weights", seconds=1, bytes=10)
    >>> graph.add_node("answer", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edges_from([("data", "factor"), ("factor", "weights"), ("weights", "answer")])
    >>> from policies.budget import Budget
    >>> staging(Problem(graph, Budget(rest=50)), limits=Limits()).order
    ('data', 'factor', 'weights', 'answer')
    >>> staging(Problem(graph, Budget(rest=5)), limits=Limits())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    policies.errors.Infeasible: no plan fits 5 B...
    """
    del progress
    began = time.perf_counter()
    late = _late_tasks(problem)
    early = [t for t in _order(problem) if t not in late]
    reads = {t: _roots_read(problem, t) for t in problem.graph}
    maker = problem.owner
    cap = _cap(problem)

    model = mathopt.Model()
    again: dict[Hashable, mathopt.Variable] = {}
    keep: dict[Hashable, mathopt.Variable] = {}
    for t in early:
        can_repeat = not problem.graph.nodes[t].get("effects", False)
        can_repeat = can_repeat and Choice.RECOMPUTE in problem.allowed(t)
        can_keep = Choice.SAVE in problem.allowed(t)
        again[t] = model.add_binary_variable()
        again[t].upper_bound = float(can_repeat)
        for value in problem.values(t):
            if value.root is None:
                keep[value.name] = model.add_binary_variable()
                keep[value.name].upper_bound = float(can_keep)
    for t in problem.graph:
        for value in reads[t]:
            if value not in keep:
                continue
            needed = 1.0 if t in late else again[t]
            model.add_linear_constraint(keep[value] + again[maker[value]] >= needed)
    sizes = {v.name: v.bytes for t in early for v in problem.values(t) if v.root is None}
    row = None
    if cap is not None:
        unit = max(1, max(sizes.values(), default=1) // (1 << 40))  # keeps coefficients exact
        row = model.add_linear_constraint(
            sum(-(-sizes[v] // unit) * keep[v] for v in keep) <= cap // unit
        )
    seconds = {t: float(problem.graph.nodes[t]["seconds"]) for t in early}
    scale = max(seconds.values(), default=0.0) or 1.0
    model.minimize(sum(seconds[t] / scale * again[t] for t in early))
    result = mathopt.solve(
        model,
        mathopt.SolverType.HIGHS,
        params=mathopt.SolveParameters(
            node_limit=max(1, limits.work * NODES_PER_UNIT),
            time_limit=None
            if limits.time_seconds is None
            else dt.timedelta(seconds=limits.time_seconds),
        ),
    )
    if not result.has_primal_feasible_solution():
        if row is not None:
            model.delete_linear_constraint(row)
        crossing = _least_crossing(model, keep, sizes)
        total = sum(size for _, size in crossing)
        raise Infeasible(
            cap or 0,
            lower_bound_bytes=total,
            min_bytes=total or None,
            witness=tuple(crossing),
            proved=result.termination.reason is mathopt.TerminationReason.INFEASIBLE,
        )
    values = result.variable_values()
    kept = {v for v, x in keep.items() if values[x] > 0.5}
    order = _expand(problem, early, late, reads, kept)
    limit = problem.limit
    budget = limit.resolve(problem) if limit.overhead is None else 0
    once = baseline_seconds(problem.with_calls(1.0))
    return judged(
        problem,
        order,
        policy="staging",
        budget_bytes=budget,
        bound_seconds=once + scale * max(0.0, result.dual_bound()),
        bound_engine="cut and knapsack",
        status=Status.FEASIBLE,
        solve_seconds=time.perf_counter() - began,
    )


def _late_tasks(problem: Problem) -> set[Hashable]:
    return {t for t, d in problem.graph.nodes(data=True) if d.get("stage", "known") == "unknown"}


def _order(problem: Problem) -> tuple[Hashable, ...]:
    from policies.compact import first_order

    return first_order(problem)


def _roots_read(problem: Problem, task: Hashable) -> list[Hashable]:
    """Names of the values whose memory a task reads, each once."""
    found: dict[Hashable, None] = {}
    for maker, _, data in problem.graph.in_edges(task, data=True):
        names = data.get("reads", tuple(v.name for v in problem.values(maker)))
        found.update((problem.root(name).name, None) for name in names)
    return list(found)


def _cap(problem: Problem) -> int | None:
    caps = [c for c in (problem.limit.rest, problem.limit.resident) if c is not None]
    return min(caps, default=None)


def _least_crossing(
    model: mathopt.Model, keep: dict[Hashable, mathopt.Variable], sizes: dict[Hashable, int]
) -> list[tuple[Hashable, int]]:
    """The values of the fewest bytes that can cross, whatever that costs: a minimum cut."""
    unit = float(max(sizes.values(), default=0) or 1)
    model.minimize(sum(sizes[v] / unit * x for v, x in keep.items()))
    result = mathopt.solve(model, mathopt.SolverType.HIGHS)
    if not result.has_primal_feasible_solution():  # a pin asks for what another forbids
        return []
    values = result.variable_values()
    return [(v, sizes[v]) for v, x in keep.items() if values[x] > 0.5]


def _expand(
    problem: Problem,
    early: list[Hashable],
    late: set[Hashable],
    reads: dict[Hashable, list[Hashable]],
    kept: set[Hashable],
) -> list[Hashable]:
    """The order: the known tasks once, then every unknown task after what it must have again."""
    order = list(early)
    have = set(kept)
    for task in (t for t in _order(problem) if t in late):
        stack: list[tuple[Hashable, bool]] = [(task, False)]
        while stack:
            top, ready = stack.pop()
            if ready:
                order.append(top)
                have.update(v.name for v in problem.values(top))
                continue
            if top != task and all(v.name in have for v in problem.values(top)):
                continue
            stack.append((top, True))
            missing = [v for v in reads[top] if v not in have and problem.owner[v] not in late]
            stack.extend((problem.owner[value], False) for value in reversed(missing))
    return order
