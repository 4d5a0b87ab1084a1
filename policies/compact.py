"""The problem as arrays: what every inner loop reads.

Tasks are numbered 0 … n-1 in the order of their first executions (when the order is free: in the
order of topological generations).  Views are resolved onto their roots.  When the order is free, an
edge that no read of memory stands for is kept as a read of a value of zero bytes, so that nothing
runs before what it depends on.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from policies.errors import InvalidProblem
from policies.problem import Choice, Problem

__all__ = ["Compact", "compact_of", "task_preds", "value_names"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Compact:
    """A problem as arrays.  Values of task ``t`` are ``made_start[t] … made_start[t+1]``.

    Attributes:
        n: number of tasks.
        seconds: f64[n], of one run of each task.
        workspace: i64[n], bytes needed while the task runs.
        known: bool[n], stage.
        rerun: bool[n], may be run again.
        hold: bool[n], values may be held from before the first unknown task to an unknown task.
        made_start: i64[n+1], CSR of tasks to the values that they make.
        value_bytes: i64[V], zero for views and for values in slow memory.
        value_task: i64[V], who makes it.
        must_live: bool[V], the last instance stays to the end.
        read_start: i64[n+1], CSR of tasks to ``reads``.
        reads: i64[R], value ids read by each task, sorted, unique, roots.
        overwrite: i64[n], bytes of ``overwrite_value`` that the outputs take over if it dies here.
        overwrite_value: i64[n], a value id, or -1.
        budget: bytes, less what is reserved throughout; may be negative.
        free_order: False if first executions must come in the order 0 … n-1.
        tasks: the original ids.
    """

    n: int
    seconds: NDArray[np.float64]
    workspace: Ints
    known: Bools
    rerun: Bools
    hold: Bools
    made_start: Ints
    value_bytes: Ints
    value_task: Ints
    must_live: Bools
    read_start: Ints
    reads: Ints
    overwrite: Ints
    overwrite_value: Ints
    budget: int
    free_order: bool
    tasks: tuple[Hashable, ...]


def compact_of(problem: Problem, budget_bytes: int) -> Compact:
    """Give a problem as arrays; what does not depend on the budget is worked out once.

    Args:
        problem: with its options already chosen.
        budget_bytes: the cap, reserved bytes included.

    Returns:
        The arrays; ``budget`` is ``budget_bytes`` less the reserved bytes.

    Raises:
        InvalidProblem: option groups are left open, or a task overwrites what it does not read.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=8)
    >>> graph.add_edge("a", "b")
    >>> compact = compact_of(Problem(graph, first_order=("a", "b"), reserved_bytes=3), 20)
    >>> compact.budget, compact.reads.tolist(), compact.read_start.tolist()
    (17, [0], [0, 0, 1])
    """
    if problem.options:
        raise InvalidProblem("choose an option of each group first: Problem.choose(...)")
    if "compact" not in problem.cache:
        problem.cache["compact"], problem.cache["names"] = _build(problem)
    return replace(problem.cache["compact"], budget=budget_bytes - problem.fixed_bytes)


def value_names(problem: Problem) -> tuple[Hashable, ...]:
    """Give the name of each value id; None for a value that only keeps an order.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> value_names(Problem(graph))
    ('a',)
    """
    compact_of(problem, 0)
    return problem.cache["names"]


def task_preds(compact: Compact) -> tuple[Ints, Ints]:
    """Give the CSR of each task to the tasks that make what it reads, sorted and unique.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=8)
    >>> graph.add_edge("a", "b")
    >>> [array.tolist() for array in task_preds(compact_of(Problem(graph), 20))]
    [[0, 0, 1], [0]]
    """
    reader = np.repeat(np.arange(compact.n, dtype=np.int64), np.diff(compact.read_start))
    pairs = np.unique(np.stack([reader, compact.value_task[compact.reads]]), axis=1)
    start = np.zeros(compact.n + 1, np.int64)
    np.cumsum(np.bincount(pairs[0], minlength=compact.n), out=start[1:])
    return start, np.ascontiguousarray(pairs[1])


def first_order(problem: Problem) -> tuple[Hashable, ...]:
    """Give the order that tasks are numbered in: the fixed one, or by topological generations.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("b", seconds=1, bytes=4)
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_edge("a", "b")
    >>> first_order(Problem(graph))
    ('a', 'b')
    """
    if problem.first_order is not None:
        return problem.first_order
    graph: Any = problem.graph
    return tuple(task for layer in nx.topological_generations(graph) for task in layer)


def _build(problem: Problem) -> tuple[Compact, tuple[Hashable, ...]]:
    """Build the arrays and the names of the values."""
    tasks = first_order(problem)
    free = problem.first_order is None
    nodes: Any = problem.graph.nodes
    names: list[Hashable] = []
    size: list[int] = []
    maker: list[int] = []
    made_start = [0]
    value_id: dict[Hashable, int] = {}
    token: dict[Hashable, int] = {}
    for index, task in enumerate(tasks):
        for value in problem.values(task):
            value_id[value.name] = len(names)
            names.append(value.name)
            size.append(0 if value.root is not None or value.space == "slow" else value.bytes)
            maker.append(index)
        if free and _needs_token(problem, task):
            token[task] = len(names)
            names.append(None)
            size.append(0)
            maker.append(index)
        made_start.append(len(names))
    root = {name: value_id[problem.root(name).name] for name in value_id}
    must_live = np.zeros(len(names), np.bool_)
    for task in tasks:
        for value in problem.values(task):
            must_live[root[value.name]] |= value.must_live
    reads: list[int] = []
    read_start = [0]
    overwrite = np.zeros(len(tasks), np.int64)
    overwrite_value = np.full(len(tasks), -1, np.int64)
    for index, task in enumerate(tasks):
        read: set[int] = set()
        for source, _, data in problem.graph.in_edges(task, data=True):
            chosen = data.get("reads")
            wanted = [v.name for v in problem.values(source)] if chosen is None else list(chosen)
            read.update(root[name] for name in wanted)
            if free:
                read.update(value_id[name] for name in wanted)
                if not wanted:
                    read.add(token[source])
        reads.extend(sorted(read))
        read_start.append(len(reads))
        own = sum(size[made_start[index] : made_start[index + 1]])
        for name in nodes[task].get("overwrites", ()):
            target = root[name]
            if target not in read:
                raise InvalidProblem(f"task {task!r}: overwrites {name!r}, which it does not read")
            if min(own, size[target]) > overwrite[index]:
                overwrite[index] = min(own, size[target])
                overwrite_value[index] = target
    allowed = [problem.allowed(task) for task in tasks]
    only_recompute = frozenset({Choice.RECOMPUTE})
    once = np.array([bool(nodes[task].get("effects", False)) for task in tasks], np.bool_)
    workspace = [int(nodes[task].get("workspace_bytes", 0)) for task in tasks]
    compact = Compact(
        n=len(tasks),
        seconds=np.array([float(nodes[task]["seconds"]) for task in tasks], np.float64),
        workspace=np.array(workspace, np.int64),
        known=np.array([nodes[t].get("stage", "known") == "known" for t in tasks], np.bool_),
        rerun=np.array([Choice.RECOMPUTE in can for can in allowed], np.bool_) & ~once,
        hold=np.array(
            [
                can != only_recompute or any(value.at_hand for value in problem.values(task))
                for task, can in zip(tasks, allowed, strict=True)
            ],
            np.bool_,
        ),
        made_start=np.array(made_start, np.int64),
        value_bytes=np.array(size, np.int64),
        value_task=np.array(maker, np.int64),
        must_live=must_live,
        read_start=np.array(read_start, np.int64),
        reads=np.array(reads, np.int64),
        overwrite=overwrite,
        overwrite_value=overwrite_value,
        budget=0,
        free_order=free,
        tasks=tasks,
    )
    return compact, tuple(names)


def _needs_token(problem: Problem, task: Hashable) -> bool:
    """Tell if some reader of ``task`` reads none of its values."""
    made = problem.values(task)
    graph: Any = problem.graph
    edges: Any = graph.out_edges(task, data="reads")
    return any((not made) if reads is None else not tuple(reads) for _, _, reads in edges)
