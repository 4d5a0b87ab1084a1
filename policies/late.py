"""The unknown stage by itself: its memory, with what was kept for it as inputs.

When stages run apart (``Problem.loads``), a call begins with what stays resident, and with what is
at hand, in memory to its end; what rests elsewhere is loaded just before its first reader.  So the
unknown stage, with the known tasks that run again in it, is a problem of its own for any planner
of peaks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import networkx as nx

from policies.decision import Decision
from policies.errors import Infeasible, InvalidDecision
from policies.evaluate import Evaluation, evaluate
from policies.keeping import crossing, keeping
from policies.policy import Limits
from policies.problem import Choice, Problem, Value

__all__ = ["late_stage", "replan", "staged"]


def staged(
    problem: Problem,
    order: Sequence[Hashable],
    kept: Mapping[Hashable, Choice] | None,
    found: Evaluation,
) -> Evaluation:
    """Price an order with what is kept between the stages.

    Args:
        problem: with its options already chosen.
        order: tasks alone, without copies.
        kept: the known values that are kept; None for those that the order reads.
        found: what the order costs when both stages share one memory.

    Returns:
        The evaluation with loads, kept bytes and, if the stages run apart, the peak of a call.

    Raises:
        InvalidDecision: a value is read that is not kept, or is kept and may not be.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=8)
    >>> graph.add_node("b", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edge("a", "b")
    >>> evaluate(Problem(graph, loads="once", calls=3), ["a", "b"], {})
    Traceback (most recent call last):
    ...
    policies.errors.InvalidDecision: the unknown stage reads 'a' from before it, but 'a' is not kept
    """
    reads = crossing(problem, order)
    if kept is None:
        kept = reads
    missing = next((value for value in reads if value not in kept), None)
    if missing is not None:
        message = f"the unknown stage reads {missing!r} from before it, but {missing!r} is not kept"
        raise InvalidDecision(message, value=missing)
    bill = keeping(problem, kept)
    per_call = found.late_seconds + bill.load_call_seconds
    found = replace(
        found,
        seconds=found.early_seconds + bill.load_once_seconds + problem.calls * per_call,
        crossing_bytes=bill.rest_bytes,
        fast_crossing_bytes=bill.resident_bytes,
    )
    if problem.loads is None:
        return found
    known_runs = _known_runs(problem, order)
    late, runs = late_stage(problem, kept, order[known_runs:])
    call = evaluate(late, runs)
    position = max(call.argmax, 0)
    tasks = sum(not _is_load(event) for event in runs[:position])
    return replace(
        found,
        peak_bytes=call.peak_bytes,
        argmax=known_runs + tasks if runs else -1,
        live=tuple((_original(name), size) for name, size in call.live),
        workspace_bytes=call.workspace_bytes,
    )


def late_stage(
    problem: Problem, kept: Mapping[Hashable, Choice], runs: Sequence[Hashable]
) -> tuple[Problem, tuple[Hashable, ...]]:
    """Give the unknown stage as a problem of its own, and an order as one of its orders.

    Args:
        problem: with its options already chosen.
        kept: the known values that are kept.
        runs: the tasks of the unknown stage, known ones that run again included, in order.

    Returns:
        The problem, whose tasks ``("load", value)`` bring what the stage does not make itself, and
        ``runs`` with each load where it is due.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=8)
    >>> graph.add_node("b", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edge("a", "b")
    >>> late, runs = late_stage(Problem(graph, loads="once"), {"a": Choice.SAVE}, ["b"])
    >>> runs, evaluate(late, runs).peak_bytes
    ((('load', 'a'), 'b'), 9)
    """
    inside = set(runs)
    graph: Any = nx.DiGraph()
    kinds = {value.name: value for task in problem.graph for value in problem.values(task)}
    loads = {value: _loaded(kinds[value], choice) for value, choice in kept.items()}
    for value in kinds.values():
        if value.at_hand and problem.owner[value.name] not in inside:
            loads[value.name] = _loaded(value, Choice.SAVE)
    for name, value in loads.items():
        graph.add_node(("load", name), seconds=0.0, values=(value,), effects=True)
    for task in dict.fromkeys(runs):
        data = dict(problem.graph.nodes[task])
        data.pop("bytes", None)
        for key in ("at_hand", "together", "must_live", "root", "space"):
            data.pop(key, None)
        data["values"] = tuple(_inside(problem, value, inside) for value in problem.values(task))
        data["stage"] = "known"
        data["overwrites"] = ()
        graph.add_node(task, **data)
    for task in dict.fromkeys(runs):
        wanted: dict[Hashable, list[Hashable]] = {}
        for source, _, data in problem.graph.in_edges(task, data=True):
            names = data.get("reads")
            names = [v.name for v in problem.values(source)] if names is None else list(names)
            if source in inside:
                wanted.setdefault(source, []).extend(names)
                continue
            for root in (problem.root(name).name for name in names):
                maker = problem.owner[root]
                if maker in inside:
                    wanted.setdefault(maker, []).append(root)
                elif root in loads:
                    wanted.setdefault(("load", root), []).append(("load", root))
        for source, names in wanted.items():
            graph.add_edge(source, task, reads=tuple(dict.fromkeys(names)))
    resident = [("load", name) for name, value in loads.items() if value.must_live]
    order: list[Hashable] = list(resident)
    there = set(resident)
    for task in runs:
        due = [s for s in graph.predecessors(task) if _is_load(s) and s not in there]
        there.update(due)
        order += [*due, task]
    order += [load for load in graph if _is_load(load) and load not in there]
    first = None if problem.first_order is None else tuple(dict.fromkeys(order))
    late = Problem(graph, first_order=first, reserved_bytes=problem.fixed_bytes)
    return late, tuple(order)


def replan(problem: Problem, decision: Decision, peak: int, limits: Limits) -> list[Hashable]:
    """Find an order of the unknown stage under a cap on its peak, with the same values kept.

    Args:
        problem: with stages apart.
        decision: says what is kept and what runs again.
        peak: cap in bytes, reserved bytes included.
        limits: when to stop.

    Returns:
        The order of both stages.

    Raises:
        Infeasible: none was found with these values kept, which proves nothing about others.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=8)
    >>> graph.add_node("b", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edge("a", "b")
    >>> from policies.solve import solve
    >>> problem = Problem(graph, loads="once")
    >>> replan(problem, solve(problem), 9, Limits())
    ['a', 'b']
    """
    from policies.solve import solve

    assert decision.kept is not None
    known_runs = _known_runs(problem, decision.order)
    late, _ = late_stage(problem, decision.kept, decision.order[known_runs:])
    try:
        found = solve(late.with_budget(peak), limits=limits)
    except Infeasible as error:
        raise Infeasible(
            peak,
            lower_bound_bytes=0,
            min_bytes=error.min_bytes,
            witness=[(_original(name), size) for name, size in error.witness],
            task=error.task,
        ) from None
    return [*decision.order[:known_runs], *(t for t in found.order if not _is_load(t))]


def _loaded(value: Value, choice: Choice) -> Value:
    """The value as it is in a call: to its end if it stays resident, else to its last reader."""
    resident = choice is Choice.SAVE
    return Value(("load", value.name), value.bytes, space=value.space, must_live=resident)


def _inside(problem: Problem, value: Value, inside: set[Hashable]) -> Value:
    """The value as the unknown stage makes it; a view may be of what was loaded."""
    root = None if value.root is None else problem.root(value.name).name
    if root is not None and problem.owner[root] not in inside:
        root = ("load", root)
    return replace(value, root=root, at_hand=False, together=None)


def _is_load(event: Hashable) -> bool:
    return isinstance(event, tuple) and len(event) == 2 and event[0] == "load"


def _original(name: Hashable) -> Hashable:
    return name[1] if isinstance(name, tuple) and _is_load(name) else name


def _known_runs(problem: Problem, order: Sequence[Hashable]) -> int:
    """How many runs there are before the unknown stage."""
    seen: set[Hashable] = set()
    start = 0
    for position, task in enumerate(order):
        if problem.graph.nodes[task].get("stage", "known") == "unknown":
            return start
        if task not in seen:
            seen.add(task)
            start = position + 1
    return len(order)
