"""From an order to a Decision: the referee's figures, the choices per task, the bound."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from policies.compact import Compact, compact_of
from policies.decision import Decision, Event, Fetch, Free, Status, Store
from policies.evaluate import evaluate
from policies.problem import Choice, Problem

__all__ = ["baseline_seconds", "choices", "judged", "late_start", "lifted_bound"]

SLACK = 1e-9
"""Seconds are sums of floats in different orders: closer than this fraction is equal."""


def judged(
    problem: Problem,
    order: Sequence[Event],
    *,
    policy: str,
    budget_bytes: int,
    bound_seconds: float = 0.0,
    bound_engine: str = "",
    status: Status = Status.FEASIBLE,
    solve_seconds: float = 0.0,
    options: Mapping[Hashable, str] | None = None,
    kept: Mapping[Hashable, Choice] | None = None,
) -> Decision:
    """Make a Decision of an order.

    Args:
        problem: with its options already chosen.
        order: of tasks and copies.
        policy: who decided.
        budget_bytes: the cap that the policy worked with; not checked here.
        bound_seconds: proved for one call (``calls = 1``); it is lifted to the problem's calls.
        bound_engine: what proved it.
        status: FEASIBLE or TIME_LIMIT; it becomes OPTIMAL when the bound is met.
        solve_seconds: wall time spent.
        options: what was chosen to get to ``problem``, for the record.
        kept: the known values that are kept for the unknown stage, if that was decided.

    Returns:
        The decision, with the referee's figures.

    Raises:
        InvalidDecision: the order cannot be run.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> decision = judged(Problem(graph), ["a"], policy="mine", budget_bytes=10)
    >>> decision.status, decision.peak_bytes, decision.seconds, decision.bound_seconds
    (<Status.OPTIMAL: 'optimal'>, 4, 1.0, 1.0)
    """
    result = evaluate(problem, order, kept)
    lifted = lifted_bound(problem, bound_seconds)
    once = lifted_bound(problem, 0.0)
    # a bound above a plan within the budget is rounding of sums, never more than that
    bound = min(lifted, result.seconds) if result.peak_bytes <= budget_bytes else lifted
    if result.peak_bytes <= budget_bytes and result.seconds <= lifted * (1 + SLACK):
        status = Status.OPTIMAL
    elif status is Status.OPTIMAL:
        status = Status.FEASIBLE
    engine = bound_engine if lifted > once and bound_engine else "every task runs once"
    return Decision(
        order=tuple(order),
        peak_bytes=result.peak_bytes,
        seconds=result.seconds,
        baseline_seconds=baseline_seconds(problem),
        bound_seconds=bound,
        bound_engine=engine,
        status=status,
        policy=policy,
        solve_seconds=solve_seconds,
        budget_bytes=budget_bytes,
        choice=MappingProxyType(choices(problem, order, kept)),
        options=MappingProxyType(dict(options or {})),
        kept=None if kept is None else MappingProxyType(dict(kept)),
    )


def baseline_seconds(problem: Problem) -> float:
    """Give the seconds when every task runs once in the first order.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=4, stage="unknown")
    >>> baseline_seconds(Problem(graph, calls=10))
    21.0
    """
    compact = compact_of(problem, 0)
    late = ~compact.known
    if not compact.free_order:
        late = np.cumsum(late) > 0
    # added one by one, as the referee does, so that saving everything costs exactly nothing more
    early_seconds = late_seconds = 0.0
    for seconds, is_late in zip(compact.seconds.tolist(), late.tolist(), strict=True):
        if is_late:
            late_seconds += seconds
        else:
            early_seconds += seconds
    return early_seconds + problem.calls * late_seconds


def lifted_bound(problem: Problem, bound_seconds: float) -> float:
    """Turn a bound for one call into one for the problem's number of calls.

    With E seconds before the late part and L in it, E + L is at least the bound
    and L at least the unknown tasks once, so that E + N L is at least the bound + (N - 1) L.  For
    N < 1 it is at least N (E + L).

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=4, stage="unknown")
    >>> lifted_bound(Problem(graph, calls=10), 4.0)
    22.0
    """
    compact = compact_of(problem, 0)
    once = baseline_seconds(problem.with_calls(1.0))
    bound = max(bound_seconds, once)
    if problem.calls == 1:
        return bound
    if problem.calls < 1:
        return problem.calls * bound
    late = ~compact.known if compact.free_order else np.cumsum(~compact.known) > 0
    return bound + (problem.calls - 1) * float(compact.seconds[late].sum())


def late_start(compact: Compact, index: Mapping[Hashable, int], order: Sequence[Event]) -> int:
    """Give the position at which the late part of an order begins, or its length.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=4, stage="unknown")
    >>> late_start(compact_of(Problem(graph), 0), {"a": 0, "b": 1}, ["a", "a", "b"])
    1
    """
    boundary = 0
    ran: set[int] = set()
    for position, event in enumerate(order):
        if isinstance(event, (Store, Fetch, Free)) or event not in index:
            continue
        task = index[event]
        if not compact.known[task]:
            return boundary
        if task not in ran:
            ran.add(task)
            boundary = position + 1
    return len(order)


def choices(
    problem: Problem, order: Sequence[Event], kept: Mapping[Hashable, Choice] | None = None
) -> dict[Hashable, Choice]:
    """Derive a choice per task from an order, and from what is kept if that was decided.

    A task whose value is stored, or kept at rest, is OFFLOAD.  One whose first read in the late
    part finds an instance made before it is SAVE, and RECOMPUTE if it finds a later run.  One that
    is not read there (or in a problem without unknown tasks) is RECOMPUTE if it runs again.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=4)
    >>> choices(Problem(graph), ["a", "b", "a"])["a"]
    <Choice.RECOMPUTE: 'recompute'>
    """
    compact = compact_of(problem, 0)
    index = {task: position for position, task in enumerate(compact.tasks)}
    runs = np.zeros(compact.n, np.int64)
    answer: dict[int, Choice] = {}
    away = [value for value, choice in (kept or {}).items() if choice is Choice.OFFLOAD]
    stored = {index[problem.owner[value]] for value in away}
    late_from = late_start(compact, index, order)
    ran_late = np.zeros(compact.n, np.bool_)
    ran_early = np.zeros(compact.n, np.bool_)
    for position, event in enumerate(order):
        if isinstance(event, Store):
            stored.add(index[problem.owner[event.value]])
            continue
        if isinstance(event, (Fetch, Free)):
            continue
        task = index[event]
        runs[task] += 1
        if position >= late_from:
            for value in compact.reads[compact.read_start[task] : compact.read_start[task + 1]]:
                maker = int(compact.value_task[value])
                if maker not in answer and ran_early[maker]:
                    answer[maker] = Choice.RECOMPUTE if ran_late[maker] else Choice.SAVE
            ran_late[task] = True
        else:
            ran_early[task] = True
    found: dict[Hashable, Choice] = {}
    for task in range(compact.n):
        again = Choice.RECOMPUTE if runs[task] > 1 else Choice.SAVE
        found[compact.tasks[task]] = Choice.OFFLOAD if task in stored else answer.get(task, again)
    return found
