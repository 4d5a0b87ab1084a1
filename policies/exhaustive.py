"""The oracle: a shortest path over (what was run, what is alive), for graphs of a few tasks.

A state is the set of tasks that have run (in a fixed order: how many), the set of values alive, and
which of the values that may not be held to a later stage are from before it.  Running a task costs
its seconds, needs its reads alive and its memory within the budget; giving up a value costs
nothing.  The shortest path to a state in which everything has run and all that must live is alive
is the best order there is, with recomputations without limit.
"""

from __future__ import annotations

import heapq
import time
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.compact import Compact, compact_of
from policies.decision import Decision
from policies.errors import Infeasible, Stopped
from policies.floor import floor
from policies.judge import judged
from policies.policy import Limits, Progress, register
from policies.problem import Problem

__all__ = ["exhaustive", "smallest_budget", "states"]

MOST_STATES = 1 << 22


@register("exhaustive")
def exhaustive(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Find a best order, or prove that there is none; without copies to slow memory.

    Raises:
        Infeasible: proved, with the exact smallest budget.
        Stopped: the graph has too many states.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> exhaustive(Problem(graph, budget=12), limits=Limits()).order
    ('a', 'b', 'c', 'a', 'd')
    """
    del limits, progress
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    seconds, sequence = _search(compact, budget - problem.fixed_bytes)
    if sequence is None:
        least = smallest_budget(problem)
        below = floor(problem)
        offload = problem.link is not None
        raise Infeasible(
            budget,
            lower_bound_bytes=below.bytes if offload else least,
            min_bytes=least,
            witness=below.witness,
            task=below.task,
            proved=not offload,
        )
    return judged(
        problem,
        [compact.tasks[t] for t in sequence],
        policy="exhaustive",
        budget_bytes=budget,
        # with a link, an order with copies may be faster: only the trivial bound holds
        bound_seconds=0.0 if problem.link is not None else seconds,
        bound_engine="shortest path over live sets",
        solve_seconds=time.perf_counter() - began,
    )


def smallest_budget(problem: Problem) -> int:
    """Give the least budget for which there is an order without copies, reserved bytes included.

    Raises:
        Stopped: the graph has too many states.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> smallest_budget(Problem(graph))
    12
    """
    compact = compact_of(problem, 0)
    low = floor(problem).bytes - problem.fixed_bytes
    high = int(compact.value_bytes.sum()) + int(compact.workspace.max(initial=0))
    while low < high:
        middle = (low + high) // 2
        if _search(compact, middle)[1] is None:
            low = middle + 1
        else:
            high = middle
    return low + problem.fixed_bytes


def states(compact: Compact) -> int:
    """Give the number of states that a search would range over.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> states(compact_of(Problem(graph), 0))
    4
    """
    ran = 1 << compact.n if compact.free_order else compact.n + 1
    return ran << (compact.value_bytes.size + int(_early_bit(compact).max(initial=-1)) + 1)


def _early_bit(compact: Compact) -> NDArray[np.int64]:
    """Give the number of each value among those that may not be held to a later stage, or -1."""
    bit = np.full(compact.value_bytes.size, -1, np.int64)
    if not compact.known.all():
        makers = compact.value_task
        open_ = ~compact.hold[makers] & compact.known[makers] & (compact.value_bytes > 0)
        barred = np.flatnonzero(open_)
        bit[barred] = np.arange(barred.size)
    return bit


def _search(compact: Compact, budget: int) -> tuple[float, list[int] | None]:
    """Give the least seconds and an order, or infinity and None."""
    count = states(compact)
    if compact.value_bytes.size > 40 or count > MOST_STATES:
        raise Stopped(f"{count} states are too many to search one by one: at most {MOST_STATES}")
    made = np.zeros(compact.n, np.int64)
    reads = np.zeros(compact.n, np.int64)
    for t in range(compact.n):
        for v in range(compact.made_start[t], compact.made_start[t + 1]):
            made[t] |= 1 << v
        for v in compact.reads[compact.read_start[t] : compact.read_start[t + 1]]:
            reads[t] |= 1 << int(v)
    final = sum(1 << int(v) for v in np.flatnonzero(compact.must_live))
    unknown = sum(1 << int(t) for t in np.flatnonzero(~compact.known))
    if not compact.free_order and unknown:
        first = int(np.flatnonzero(~compact.known)[0])
    else:
        first = compact.n
    order, seconds = _dijkstra(
        compact.seconds,
        compact.workspace,
        compact.known,
        compact.rerun,
        compact.value_bytes,
        made,
        reads,
        _early_bit(compact),
        compact.overwrite,
        compact.overwrite_value,
        compact.free_order,
        unknown,
        first,
        final,
        budget,
        count,
    )
    return (float(seconds), [int(t) for t in order]) if np.isfinite(seconds) else (np.inf, None)


@njit(cache=True)
def _dijkstra(  # noqa: PLR0917 (arrays, for the inner loop)
    seconds: NDArray[np.float64],
    workspace: NDArray[np.int64],
    known: NDArray[np.bool_],
    rerun: NDArray[np.bool_],
    value_bytes: NDArray[np.int64],
    made: NDArray[np.int64],
    reads: NDArray[np.int64],
    early_bit: NDArray[np.int64],
    overwrite: NDArray[np.int64],
    overwrite_value: NDArray[np.int64],
    free: bool,
    unknown: int,
    first_unknown: int,
    final: int,
    budget: int,
    count: int,
) -> Any:
    """Search from nothing run and nothing alive.

    A state is ``(ran << V | alive) << E | early``; ``ran`` counts tasks or is a set of them.
    """
    n = seconds.size
    values = value_bytes.size
    early_bits = 0
    for v in range(values):
        early_bits = max(early_bits, early_bit[v] + 1)
    best = np.full(count, np.inf)
    parent = np.full(count, -1, np.int64)
    by = np.full(count, -1, np.int8)
    done = np.zeros(count, np.bool_)
    goal = (1 << n) - 1 if free else n
    best[0] = 0.0
    heap = [(0.0, 0)]
    alive_mask = (1 << values) - 1
    while len(heap) > 0:
        cost, state = heapq.heappop(heap)
        if done[state]:
            continue
        done[state] = True
        early = state & ((1 << early_bits) - 1)
        alive = (state >> early_bits) & alive_mask
        ran = state >> (early_bits + values)
        if ran == goal and alive & final == final:
            length = 0
            at = state
            while at != 0:
                if by[at] >= 0:
                    length += 1
                at = parent[at]
            order = np.empty(length, np.int64)
            at = state
            while at != 0:
                if by[at] >= 0:
                    length -= 1
                    order[length] = by[at]
                at = parent[at]
            return order, cost
        for v in range(values):
            if alive >> v & 1:
                left = alive & ~(1 << v)
                left_early = early
                if early_bit[v] >= 0:
                    left_early = early & ~(1 << early_bit[v])
                other = (((ran << values) | left) << early_bits) | left_early
                if cost < best[other]:
                    best[other] = cost
                    parent[other] = state
                    by[other] = -1
                    heapq.heappush(heap, (cost, other))
        live = 0
        for v in range(values):
            if alive >> v & 1:
                live += value_bytes[v]
        # until an unknown task has run, each further first run ends the early part anew
        late = ran & unknown != 0 if free else ran > first_unknown
        for t in range(n):
            if free:
                again = ran >> t & 1 == 1
                after = ran | (1 << t)
            else:
                again = t < ran
                after = ran if again else ran + 1
                if t > ran:
                    break
            if again and not rerun[t]:
                continue
            if alive & reads[t] != reads[t] or alive & made[t] != 0:
                continue
            if not known[t]:
                barred = False
                for v in range(values):
                    if reads[t] >> v & 1 and early_bit[v] >= 0 and early >> early_bit[v] & 1:
                        barred = True
                if barred:
                    continue
            memory = live + workspace[t]
            for v in range(values):
                if made[t] >> v & 1:
                    memory += value_bytes[v]
            now = alive | made[t]
            now_early = early
            if not late and known[t] and not again:
                for v in range(values):
                    if now >> v & 1 and early_bit[v] >= 0:
                        now_early |= 1 << early_bit[v]
            for way in range(2):
                if way == 1:
                    w = overwrite_value[t]
                    if w < 0:
                        break
                    memory -= overwrite[t]
                    now &= ~(1 << w)
                    if early_bit[w] >= 0:
                        now_early &= ~(1 << early_bit[w])
                if memory > budget:
                    continue
                other = (((after << values) | now) << early_bits) | now_early
                if cost + seconds[t] < best[other]:
                    best[other] = cost + seconds[t]
                    parent[other] = state
                    by[other] = t
                    heapq.heappush(heap, (cost + seconds[t], other))
    return np.empty(0, np.int64), np.inf
