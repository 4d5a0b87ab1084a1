"""Checkmate's stage-indexed program, exactly and with its rounding.

Stage ``t`` ends with the first run of task ``t``.  ``R[t, i]`` says that task ``i`` runs in stage
``t``, ``S[t, i]`` that its values are kept into it; within a stage tasks run in the first order.
The memory while ``R[t, k]`` runs is what is kept, has run and is still used, or is kept into the
next stage.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ortools.math_opt.python import mathopt

from policies.compact import Compact, compact_of
from policies.decision import Decision, Status
from policies.errors import InvalidProblem, Stopped
from policies.floor import not_found, refuse_below_floor
from policies.judge import judged
from policies.policy import Limits, Progress, register
from policies.problem import Problem
from policies.rebuild import made_bytes, price

__all__ = ["checkmate", "checkmate_lp"]

MOST_TASKS = 120
SHRINK = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)


@register("checkmate")
def checkmate(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Solve the integer program: any number of runs, one per stage.

    Its bound speaks of orders that run within stages in the first order and free nothing within a
    run, so it is not reported.

    Raises:
        Infeasible: not found.
        InvalidProblem: the order is free, or values may not be held to a later stage.
        Stopped: too many tasks.

    Source: Paras Jain, Ajay Jain, Aniruddha Nrusimha, Amir Gholami, Pieter Abbeel, Kurt Keutzer,
    Ion Stoica, Joseph Gonzalez. Checkmate: Breaking the Memory Wall with Optimal Tensor
    Rematerialization. MLSys 2020.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> checkmate(Problem(graph, budget=12, first_order=tuple("abcd")), limits=Limits()).seconds
    5.0
    """
    del progress
    began = time.perf_counter()
    budget, compact = _checked(problem, "checkmate")
    model = _Model(compact, compact.budget, whole=True)
    kept, complete = model.solve(limits)
    sequence = None if kept is None else _complete(compact, kept)
    if sequence is None or price(compact, sequence)[0] > compact.budget:
        raise not_found(problem, budget)
    return judged(
        problem,
        [compact.tasks[t] for t in sequence],
        policy="checkmate",
        budget_bytes=budget,
        status=Status.FEASIBLE if complete else Status.TIME_LIMIT,
        solve_seconds=time.perf_counter() - began,
    )


@register("checkmate_lp")
def checkmate_lp(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Solve the linear relaxation, round what is kept at one half, and run what is then missing.

    The rounding may exceed the budget: the program is solved for ever smaller ones until it fits.

    Raises:
        Infeasible: not found.
        InvalidProblem: the order is free, or values may not be held to a later stage.
        Stopped: too many tasks.

    Source: as ``checkmate``; two-phase deterministic rounding, section 5.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> checkmate_lp(Problem(graph, budget=4, first_order=("a",)), limits=Limits()).peak_bytes
    4
    """
    del progress
    began = time.perf_counter()
    budget, compact = _checked(problem, "checkmate_lp")
    smallest: int | None = None
    for part in SHRINK:
        kept, _ = _Model(compact, int(compact.budget * (1 - part)), whole=False).solve(limits)
        if kept is None:
            break
        sequence = _complete(compact, kept)
        peak = price(compact, sequence)[0]
        smallest = peak if smallest is None else min(smallest, peak)
        if peak <= compact.budget:
            return judged(
                problem,
                [compact.tasks[t] for t in sequence],
                policy="checkmate_lp",
                budget_bytes=budget,
                solve_seconds=time.perf_counter() - began,
            )
    raise not_found(problem, budget, None if smallest is None else smallest + problem.fixed_bytes)


def _checked(problem: Problem, name: str) -> tuple[int, Compact]:
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    if compact.free_order:
        raise InvalidProblem(f"{name} needs a fixed first order")
    if not compact.known.all() and not compact.hold.all():
        raise InvalidProblem(f"{name} cannot say that a value is not to be held to a later stage")
    if compact.n > MOST_TASKS:
        raise Stopped(f"{compact.n} tasks are too many for {name}: at most {MOST_TASKS}")
    refuse_below_floor(problem, budget)
    return budget, compact


class _Model:
    """The program for one budget."""

    def __init__(self, compact: Compact, budget: int, *, whole: bool) -> None:
        self.compact = compact
        self.model: Any = mathopt.Model(name="checkmate")
        self.whole = whole
        n = compact.n
        self.reads = [
            sorted({int(compact.value_task[v]) for v in _reads(compact, t)}) for t in range(n)
        ]
        self.run = [[self._bit(f"r{t}.{i}", i == t) for i in range(t + 1)] for t in range(n)]
        self.keep = [[self._bit(f"s{t}.{i}", False) for i in range(t)] for t in range(n)]
        sizes = made_bytes(compact).astype(float)
        scale = max(float(budget), 1.0)
        self._logic()
        for t in range(n):
            self._memory(t, sizes / scale, budget / scale, compact.workspace / scale)
        seconds = compact.seconds / max(float(compact.seconds.sum()), 1e-300)
        self.model.minimize(
            sum(float(seconds[i]) * self.run[t][i] for t in range(n) for i in range(t + 1))
        )

    def _bit(self, name: str, one: bool) -> Any:
        low = 1.0 if one else 0.0
        return self.model.add_variable(lb=low, ub=1.0, is_integer=self.whole, name=name)

    def _logic(self) -> None:
        """What runs finds what it reads; what is kept was there."""
        model, compact = self.model, self.compact
        must = {int(compact.value_task[v]) for v in np.flatnonzero(compact.must_live)}
        for t in range(compact.n):
            for i in range(t + 1):
                if i < t and not compact.rerun[i]:
                    model.add_linear_constraint(self.run[t][i] <= 0)
                for u in self.reads[i]:
                    model.add_linear_constraint(self.run[t][i] <= self._there(t, u))
                if i < t:
                    model.add_linear_constraint(self.keep[t][i] <= self._there(t - 1, i))
        last = compact.n - 1
        for i in sorted(must):
            model.add_linear_constraint(self._there(last, i) >= 1)

    def _there(self, t: int, i: int) -> Any:
        return self.run[t][i] + (self.keep[t][i] if i < t else 0.0)

    def _memory(
        self,
        t: int,
        sizes: NDArray[np.float64],
        budget: float,
        workspace: NDArray[np.float64],
    ) -> None:
        """Bytes while each task of stage ``t`` runs.

        A value ``i`` counts while ``k >= i`` runs unless it is freed before: it may be if nothing
        from ``k`` on in this stage reads it and it is not kept into the next.
        """
        model, n = self.model, self.compact.n
        readers: list[list[int]] = [[] for _ in range(t + 1)]
        for k in range(t + 1):
            for u in self.reads[k]:
                readers[u].append(k)
        must = {int(self.compact.value_task[v]) for v in np.flatnonzero(self.compact.must_live)}
        held: list[dict[int, Any]] = [{} for _ in range(t + 1)]
        for i in range(t + 1):
            if sizes[i] <= 0:
                continue
            # alive[k] >= there while a later reader runs or the next stage keeps it
            for k in range(i + 1 if i == t else 0, t + 1):
                alive = model.add_variable(lb=0.0, ub=1.0, is_integer=False)
                there = self._there(t, i) if k >= i else self.keep[t][i]
                needs = [self.run[t][w] for w in readers[i] if w >= k]
                if k < i:
                    # before it runs again here it is alive only as what was kept
                    needs = [*needs, self.keep[t][i]]
                if t + 1 < n:
                    needs.append(self.keep[t + 1][i])
                elif i in must:
                    needs.append(1.0)
                for need in needs:
                    model.add_linear_constraint(alive >= there + need - 1)
                held[k][i] = alive
        for k in range(t + 1):
            others = sum(float(sizes[i]) * alive for i, alive in held[k].items() if i != k)
            own = float(sizes[k] + workspace[k])
            total = others + own * self.run[t][k]
            model.add_linear_constraint(total <= budget)

    def solve(self, limits: Limits) -> tuple[NDArray[np.bool_] | None, bool]:
        """Give what is kept into each stage (bool[n, n]) or None, and if the search ended."""
        if self.whole:
            seconds = limits.work / 1000
            if limits.time_seconds is not None:
                seconds = min(seconds, limits.time_seconds)
            parameters = mathopt.SolveParameters(
                time_limit=dt.timedelta(seconds=max(seconds, 0.01)),
                node_limit=max(1, limits.work),
                random_seed=limits.seed,
            )
            solver = mathopt.SolverType.HIGHS
        else:
            parameters = mathopt.SolveParameters(iteration_limit=max(1, limits.work * 100))
            solver = mathopt.SolverType.GLOP
        result: Any = mathopt.solve(self.model, solver, params=parameters)
        if not result.has_primal_feasible_solution():
            return None, False
        kept = np.zeros((self.compact.n, self.compact.n), np.bool_)
        values = result.variable_values()
        for t in range(self.compact.n):
            for i in range(t):
                kept[t, i] = values[self.keep[t][i]] > 0.5
        complete = result.termination.reason == mathopt.TerminationReason.OPTIMAL
        return kept, complete


def _reads(compact: Compact, task: int) -> list[int]:
    return compact.reads[compact.read_start[task] : compact.read_start[task + 1]].tolist()


def _complete(compact: Compact, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Run in each stage the least that makes what is read and what is kept later be there."""
    reads = [{int(compact.value_task[v]) for v in _reads(compact, t)} for t in range(compact.n)]
    sequence: list[int] = []
    there: set[int] = set()
    must = {int(compact.value_task[v]) for v in np.flatnonzero(compact.must_live)}
    for t in range(compact.n):
        stays = {i for i in there if kept[t, i] or not compact.rerun[i]}
        wanted = {t}
        if t + 1 < compact.n:
            wanted |= {i for i in range(t) if kept[t + 1, i] and i not in stays}
        else:
            wanted |= {i for i in must if i not in stays}
        run: set[int] = set()
        todo = list(wanted)
        while todo:
            i = todo.pop()
            if i in run:
                continue
            run.add(i)
            todo.extend(u for u in reads[i] if u not in stays)
        sequence.extend(sorted(run))
        there = stays | run
    return np.array(sequence, np.int64)
