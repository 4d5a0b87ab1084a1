"""Free orders: choose the order of first executions, alone and with recomputation on top.

The search moves one task at a time to another place between what it reads and who reads it, and
anneals on the bytes over budget, summed over the places.  If they reach zero, nothing needs to be
recomputed, which is optimal.  Otherwise the orders found are fixed in turn and handed to the
engines for fixed orders.

Source: moving tasks within their slack is a standard neighbourhood of scheduling with precedences
(Christian Artigues et al., "Resource-Constrained Project Scheduling", 2008); annealing as in
`recompute_sets`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from policies.moves import below, chance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact


@njit(cache=True)
def _energy(  # noqa: PLR0917 (arrays, for the inner loop)
    order: Any, place: Any, size: Any, maker: Any, keep: Any, use: Any, uses: Any, scratch: Any
) -> None:
    """Fill `scratch[:n]` with the bytes alive at each place."""
    n = len(order)
    scratch[: n + 1] = 0
    for value in range(len(maker)):
        last = place[maker[value]]
        for i in range(use[value], use[value + 1]):
            last = max(last, place[uses[i]])
        if keep[value]:
            last = n - 1
        scratch[place[maker[value]]] += size[value]
        scratch[last + 1] -= size[value]
    live = 0
    for p in range(n):
        live += scratch[p]
        scratch[p] = live


@njit(cache=True)
def _excess(order: Any, workspace: Any, scratch: Any, budget: int) -> int:
    """Sum the bytes over budget."""
    total = 0
    for p in range(len(order)):
        total += max(0, scratch[p] + workspace[order[p]] - budget)
    return total


@njit(cache=True)
def _anneal(  # noqa: PLR0917 (arrays, for the inner loop)
    order: Any, place: Any, size: Any, maker: Any, keep: Any, use: Any, uses: Any,
    read_start: Any, reads: Any, made_start: Any, workspace: Any, budget: int, num: Any,
    steps: int, heat: float, cool: float,
) -> int:  # fmt: skip
    """Improve `order` in place; return the bytes over budget of the best order, left in it."""
    n = len(order)
    scratch = np.zeros(n + 1, np.int64)
    _energy(order, place, size, maker, keep, use, uses, scratch)
    now = _excess(order, workspace, scratch, budget)
    best = now
    kept = order.copy()
    temperature = heat
    factor = (cool / heat) ** (1.0 / max(1, steps))
    for _ in range(steps):
        if best == 0:
            break
        temperature *= factor
        at = below(num, n)
        task = order[at]
        low, high = 0, n - 1
        for i in range(read_start[task], read_start[task + 1]):
            low = max(low, place[maker[reads[i]]] + 1)
        for value in range(made_start[task], made_start[task + 1]):
            for i in range(use[value], use[value + 1]):
                high = min(high, place[uses[i]] - 1)
        if high <= low:
            continue
        to = low + below(num, high - low + 1)
        if to == at:
            continue
        step = 1 if to > at else -1
        p = at
        while p != to:
            order[p] = order[p + step]
            place[order[p]] = p
            p += step
        order[to] = task
        place[task] = to
        _energy(order, place, size, maker, keep, use, uses, scratch)
        after = _excess(order, workspace, scratch, budget)
        if after <= now or chance(num) < math.exp((now - after) / temperature):
            now = after
            if now < best:
                best = now
                kept[:] = order
        else:
            p = to
            while p != at:
                order[p] = order[p - step]
                place[order[p]] = p
                p -= step
            order[at] = task
            place[task] = at
    order[:] = kept
    return best


def search_order(
    problem: Compact, seed: int, steps: int, heat: float = 0.05
) -> tuple[NDArray[np.int64], int]:
    """Search for an order that needs little memory without recomputation.

    Args:
        problem: The compact problem, with its budget.
        seed: Of the random moves.
        steps: Moves, each O(tasks + reads).
        heat: First temperature, as a fraction of the budget.

    Returns:
        The tasks in the order found, and the bytes over budget summed over places; 0 means that
        the order fits as it is.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 1), ("b", 9), ("c", 9), ("d", 1), ("e", 1), ("f", 1)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("a", "c"), ("b", "d"), ("c", "e"), ("d", "f")])
    >>> graph.add_edge("e", "f")
    >>> order, excess = search_order(compact_of(Problem(graph), 12), 0, 500)
    >>> excess
    0
    """
    n = problem.n
    order = np.arange(n, dtype=np.int64)
    place = order.copy()
    reads = np.asarray(problem.reads, np.int64)
    reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(problem.read_start))
    use = np.zeros(len(problem.value_bytes) + 1, np.int64)
    np.cumsum(np.bincount(reads, minlength=len(problem.value_bytes))[: len(use) - 1], out=use[1:])
    uses = reader[np.argsort(reads, kind="stable")]
    num = np.zeros(8, np.int64)
    num[5] = 88172645463325252 + seed
    unit = max(1.0, heat * problem.budget)
    excess = _anneal(
        order, place, problem.value_bytes, problem.value_task, problem.must_live, use, uses,
        problem.read_start, reads, problem.made_start, problem.workspace, problem.budget, num,
        steps, unit, 1e-3 * unit,
    )  # fmt: skip
    return order, int(excess)


def permuted(problem: Compact, order: NDArray[np.int64]) -> Compact:
    """Return the problem with its tasks renumbered to run first in `order`, which is then fixed.

    Task `i` of the result is task `order[i]` of `problem`.
    """
    n = problem.n
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    made = np.diff(problem.made_start)[order]
    made_start = np.concatenate([[0], np.cumsum(made)]).astype(np.int64)
    old = np.concatenate(
        [np.arange(int(problem.made_start[t]), int(problem.made_start[t + 1])) for t in order]
        or [np.zeros(0, np.int64)]
    ).astype(np.int64)
    value = np.empty(len(old), np.int64)
    value[old] = np.arange(len(old))
    count = np.diff(problem.read_start)[order]
    read_start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    reads = [
        np.sort(value[problem.reads[problem.read_start[t] : problem.read_start[t + 1]]])
        for t in order
    ]
    over = problem.overwrite_value[order]
    return replace(
        problem,
        seconds=problem.seconds[order],
        workspace=problem.workspace[order],
        known=problem.known[order],
        rerun=problem.rerun[order],
        hold=problem.hold[order],
        made_start=made_start,
        value_bytes=problem.value_bytes[old],
        value_task=place[problem.value_task[old]],
        must_live=problem.must_live[old],
        read_start=read_start,
        reads=np.concatenate(reads or [np.zeros(0, np.int64)]).astype(np.int64),
        overwrite=problem.overwrite[order],
        overwrite_value=np.where(over >= 0, value[np.maximum(over, 0)], -1),
        free_order=False,
        tasks=tuple(problem.tasks[t] for t in order),
    )


def always_between(problem: Compact, task: int) -> bool:
    """Tell whether every other task must run before `task` or reads of it, in every order.

    Complexity:
        O(tasks + reads).
    """
    n = problem.n
    before = np.zeros(n, np.bool_)
    after = np.zeros(n, np.bool_)
    before[task] = after[task] = True
    source = problem.value_task[problem.reads]
    for t in range(task, -1, -1):
        if before[t]:
            before[source[problem.read_start[t] : problem.read_start[t + 1]]] = True
    for t in range(task + 1, n):
        after[t] = bool(after[source[problem.read_start[t] : problem.read_start[t + 1]]].any())
    return bool((before | after).all())
