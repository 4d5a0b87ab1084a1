"""Families of problems to try policies on: deterministic for a given size and seed.

``there_and_back`` turns a graph into the problem that reverse passes pose: every task has a
counterpart that runs later, in reverse order, and reads the values that its task read.
"""

from __future__ import annotations

import math
import random
from typing import Any

import networkx as nx

from policies.problem import Choice, Problem, Value

__all__ = [
    "chain",
    "layered",
    "random_problem",
    "skips",
    "stream",
    "there_and_back",
    "tree",
    "two_tasks",
]


def there_and_back(graph: nx.DiGraph[Any]) -> Problem:
    """Give every task ``t`` a later counterpart ``("back", t)``, run in reverse order.

    The counterpart reads what ``t`` read and made, and the counterparts of the readers of ``t``;
    it takes twice the seconds and makes as many bytes as ``t`` does.

    Args:
        graph: tasks with ``seconds`` and ``bytes``, in a topological order.

    Returns:
        A problem with a fixed order and no budget.

    >>> one = nx.DiGraph()
    >>> one.add_node("a", seconds=1, bytes=4)
    >>> there_and_back(one).first_order
    ('a', ('back', 'a'))
    """
    both: Any = nx.DiGraph()
    order = list(graph)
    for task in order:
        both.add_node(task, **graph.nodes[task], stage="known")
        both.add_edges_from((source, task) for source in graph.predecessors(task))
    for task in reversed(order):
        data: Any = graph.nodes[task]
        back = ("back", task)
        both.add_node(back, seconds=2 * data["seconds"], bytes=data["bytes"], stage="unknown")
        both.add_edge(task, back)
        both.add_edges_from((source, back) for source in graph.predecessors(task))
        both.add_edges_from((("back", reader), back) for reader in graph.successors(task))
    return Problem(both, first_order=(*order, *(("back", task) for task in reversed(order))))


def chain(length: int, seed: int | None = None) -> Problem:
    """Give a chain there and back; with a seed, of tasks that differ.

    >>> len(chain(5).graph)
    10
    """
    rng = random.Random(seed)  # noqa: S311 (not for secrets)
    graph: Any = nx.DiGraph()
    for index in range(length):
        seconds = 1.0 if seed is None else rng.choice([1.0, 2.0, 3.0, 5.0])
        graph.add_node(index, seconds=seconds, bytes=8 if seed is None else rng.randint(1, 16))
        if index:
            graph.add_edge(index - 1, index)
    return there_and_back(graph)


def layered(layers: int, width: int, seed: int = 0, reach: int = 2) -> Problem:
    """Give layers of tasks that read tasks of the last few layers, there and back.

    >>> len(layered(3, 2).graph)
    14
    """
    rng = random.Random(seed)  # noqa: S311
    graph: Any = nx.DiGraph()
    rows: list[list[int]] = [[0]]
    graph.add_node(0, seconds=0.0, bytes=16)
    for _ in range(layers):
        row: list[int] = []
        for _ in range(width):
            task = len(graph)
            size = int(math.exp(rng.gauss(4, 0.8))) + 1
            graph.add_node(task, seconds=round(math.exp(rng.gauss(0, 1)), 3), bytes=size)
            pool = [other for r in rows[-reach:] for other in r]
            for source in sorted({rng.choice(rows[-1]), *rng.sample(pool, min(2, len(pool)))}):
                graph.add_edge(source, task)
            row.append(task)
        rows.append(row)
    return there_and_back(graph)


def skips(depth: int, per_level: int = 2) -> Problem:
    """Give a way down and up again whose levels are joined by long skips, there and back.

    >>> len(skips(3).graph)
    20
    """
    graph: Any = nx.DiGraph()
    last: int | None = None
    held: list[int] = []

    def add(seconds: float, size: int, *reads: int | None) -> int:
        task = len(graph)
        graph.add_node(task, seconds=seconds, bytes=size)
        graph.add_edges_from((source, task) for source in reads if source is not None)
        return task

    for level in range(depth):
        size = 1 << (2 * (depth - level))
        for _ in range(per_level):
            last = add(4.0, size, last)
        if level < depth - 1:
            assert last is not None
            held.append(last)
            last = add(1.0, size // 4, last)
    for level in range(depth - 2, -1, -1):
        last = add(1.0, 1 << (2 * (depth - level)), last, held.pop())
    return there_and_back(graph)


def tree(depth: int) -> Problem:
    """Give a binary tree of reductions, in the order of its leaves; the order is free.

    >>> len(tree(2).graph)
    7
    """
    graph: Any = nx.DiGraph()

    def grow(level: int, name: str) -> str:
        graph.add_node(name, seconds=1.0, bytes=1 << level)
        if level:
            for side in "lr":
                graph.add_edge(grow(level - 1, name + side), name)
        return name

    grow(depth, "t")
    return Problem(graph)


def stream(stages: int, items: int, window: int = 2) -> Problem:
    """Give items that pass through stages; each stage also reads its previous items.

    >>> len(stream(3, 4).graph)
    12
    """
    graph: Any = nx.DiGraph()
    for item in range(items):
        for stage in range(stages):
            task = (item, stage)
            graph.add_node(task, seconds=1.0 + stage, bytes=64 >> stage if stage < 6 else 1)
            if stage:
                graph.add_edge((item, stage - 1), task)
                for back in range(1, min(window, item + 1)):
                    graph.add_edge((item - back, stage - 1), task)
    return Problem(graph, first_order=tuple(graph))


def random_problem(
    n: int,
    seed: int = 0,
    *,
    density: float = 0.3,
    rich: bool = True,
    fixed: bool = True,
    least_seconds: int = 0,
) -> Problem:
    """Give a random graph of ``n`` tasks with small integer costs.

    Args:
        n: tasks.
        seed: of the choices.
        density: chance of an edge.
        rich: also draw workspace, several values, views, stages, tasks that may not run again or
            not be held, values that live to the end, and memory taken over.
        fixed: fix the first order.
        least_seconds: of any task.

    >>> random_problem(4, 1).graph.number_of_nodes()
    4
    """
    rng = random.Random(seed)  # noqa: S311
    graph: Any = nx.DiGraph()
    late = rng.randint(1, n + 1) if rich and rng.random() < 0.5 else n + 1
    made: list[list[Value]] = []
    for task in range(n):
        values = [Value((task, 0), rng.randint(0, 9), must_live=rich and rng.random() < 0.1)]
        data: dict[str, Any] = {"seconds": float(rng.randint(least_seconds, 5))}
        sources = [u for u in range(task) if rng.random() < density]
        if rich:
            if rng.random() < 0.15:
                values.append(Value((task, 1), rng.randint(0, 5)))
            if sources and rng.random() < 0.15:
                target = rng.choice(made[sources[0]])
                values.append(Value((task, 2), 3, root=target.name))
            data["workspace_bytes"] = rng.choice([0, 0, 0, 1, 4])
            data["stage"] = "known" if task < late else "unknown"
            draw = rng.random()
            if draw < 0.1:
                data["allowed"] = frozenset({Choice.SAVE})
            elif draw < 0.2:
                data["allowed"] = frozenset({Choice.RECOMPUTE})
            elif draw < 0.25:
                data["effects"] = True
        data["values"] = tuple(values)
        graph.add_node(task, **data)
        made.append(values)
        for source in sources:
            names = [value.name for value in made[source]]
            reads = tuple(name for name in names if not rich or rng.random() < 0.8)
            graph.add_edge(source, task, reads=reads)
        if rich and sources and rng.random() < 0.2:
            reads = graph.edges[sources[-1], task]["reads"]
            graph.nodes[task]["overwrites"] = reads[:1]
    return Problem(graph, first_order=tuple(range(n)) if fixed else None)


def two_tasks(**terms: Any) -> Problem:
    """Give the smallest problem in two stages: ``a``, of 3 s and 8 B, and ``b``, which reads it.

    Args:
        terms: of the problem, such as ``calls`` and ``loads``.

    >>> two_tasks(calls=5.0).values("a")[0].bytes
    8
    """
    graph: Any = nx.DiGraph()
    graph.add_node("a", seconds=3, bytes=8)
    graph.add_node("b", seconds=1, bytes=1, stage="unknown")
    graph.add_edge("a", "b")
    return Problem(graph, **terms)
