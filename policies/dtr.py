"""Dynamic tensor rematerialization, simulated: what an online evictor would do.

The first order is run as it comes.  When memory runs out, values are evicted one by one, and when a
missing value is read, it is made again, evicting as need be.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from policies.compact import Compact, compact_of
from policies.decision import Decision
from policies.floor import not_found
from policies.judge import judged
from policies.policy import Limits, Progress, register
from policies.problem import Problem

__all__ = ["dtr"]

MOST_RUNS_EACH = 40


@register("dtr")
def dtr(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Evict the task with the least of (seconds to make again) / (bytes x staleness).

    The seconds to make a task again are its own and those of the evicted tasks around it that
    depend on one another; staleness is the time since its values were last touched.  It is given
    up as hopeless after some tens of runs per task.

    Raises:
        Infeasible: it evicted all it may and did not fit, or did not come to an end.

    Source: Marisa Kirisame, Steven Lyubomirsky, Altan Haan, Jennifer Brennan, Mike He, Jared
    Roesch, Tianqi Chen, Zachary Tatlock. Dynamic Tensor Rematerialization. ICLR 2021 (with the
    exact evicted neighbourhood). What we changed: it knows when a value is read for the last
    time, as every policy here does, and evicts whole tasks.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> dtr(Problem(graph, budget=12), limits=Limits()).seconds
    5.0
    """
    del limits, progress
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    sequence = _Evictor(compact).run()
    if sequence is None:
        raise not_found(problem, budget)
    decision = judged(
        problem,
        [compact.tasks[t] for t in sequence],
        policy="dtr",
        budget_bytes=budget,
        solve_seconds=time.perf_counter() - began,
    )
    if decision.peak_bytes > budget:
        raise not_found(problem, budget, decision.peak_bytes)
    return decision


class _Evictor:
    """The state of the simulated run: what is there, when it was touched, what is pinned."""

    def __init__(self, compact: Compact) -> None:
        self.compact = compact
        n = compact.n
        self.sizes = [
            int(compact.value_bytes[compact.made_start[t] : compact.made_start[t + 1]].sum())
            for t in range(n)
        ]
        self.reads: list[list[int]] = []
        self.readers: list[list[int]] = [[] for _ in range(n)]
        for t in range(n):
            values = compact.reads[compact.read_start[t] : compact.read_start[t + 1]]
            makers = sorted({int(compact.value_task[v]) for v in values})
            self.reads.append(makers)
            for u in makers:
                self.readers[u].append(t)
        self.must = [
            bool(compact.must_live[compact.made_start[t] : compact.made_start[t + 1]].any())
            for t in range(n)
        ]
        self.there: NDArray[np.bool_] = np.zeros(n, np.bool_)
        self.evicted: set[int] = set()
        self.touched = [0.0] * n
        self.clock = 0.0
        self.live = 0
        self.pins = [0] * n
        self.left = [len(readers) for readers in self.readers]
        self.sequence: list[int] = []
        unknown = np.flatnonzero(~compact.known)
        self.late = int(unknown[0]) if unknown.size else n
        self.barred = ~compact.hold & compact.known

    def run(self) -> list[int] | None:
        """Run every task of the first order; give the sequence or None."""
        for t in range(self.compact.n):
            if t == self.late:
                for u in np.flatnonzero(self.barred & self.there):
                    self._evict(int(u))
            if not self._make(t, set()):
                return None
            # a first run: each of its reads is done with once and for all
            for u in self.reads[t]:
                self.left[u] -= 1
                self._drop_if_done(u)
            self._drop_if_done(t)
        for t in range(self.compact.n):
            if self.must[t] and not self.there[t] and not self._make(t, set()):
                return None
            if self.must[t]:
                self.pins[t] += 1
        return self.sequence

    def _drop_if_done(self, t: int) -> None:
        """Give up what no first run reads any more; it may be made again for a recomputation."""
        if self.left[t] == 0 and self.there[t] and not self.must[t] and self.pins[t] == 0:
            self._evict(t)

    def _make(self, t: int, path: set[int]) -> bool:
        """Run a task, making first what it misses."""
        if len(self.sequence) > MOST_RUNS_EACH * self.compact.n:
            return False
        pinned: list[int] = []
        fits = True
        for u in self.reads[t]:
            able = u not in path and bool(self.compact.rerun[u])
            if not self.there[u] and not (able and self._make(u, path | {t})):
                fits = False
                break
            self.pins[u] += 1
            pinned.append(u)
        need = self.sizes[t] + int(self.compact.workspace[t]) if fits else 0
        fits = fits and self._make_room(need)
        if fits:
            self.sequence.append(t)
            self.clock += float(self.compact.seconds[t]) + 1e-12
            self.live += self.sizes[t]
            self.there[t] = True
            self.evicted.discard(t)
            for u in (*pinned, t):
                self.touched[u] = self.clock
        for u in pinned:
            self.pins[u] -= 1
            if path and fits:
                self._drop_if_done(u)
        return fits

    def _make_room(self, need: int) -> bool:
        while self.live + need > self.compact.budget:
            candidates = [
                u
                for u in np.flatnonzero(self.there).tolist()
                if self.pins[u] == 0 and self.sizes[u] > 0 and self.compact.rerun[u]
            ]
            if not candidates:
                return False
            self._evict(min(candidates, key=lambda u: (self._score(u), u)))
        return True

    def _evict(self, t: int) -> None:
        self.there[t] = False
        self.evicted.add(t)
        self.live -= self.sizes[t]

    def _score(self, t: int) -> float:
        """Seconds of the task and its evicted neighbourhood over bytes and staleness."""
        cost = float(self.compact.seconds[t])
        seen: set[int] = set()
        for start in (self.reads, self.readers):
            todo = [u for u in start[t] if u in self.evicted]
            while todo:
                u = todo.pop()
                if u in seen:
                    continue
                seen.add(u)
                cost += float(self.compact.seconds[u])
                todo.extend(w for w in start[u] if w in self.evicted)
        stale = self.clock - self.touched[t] + 1e-9
        return cost / (self.sizes[t] * stale)
