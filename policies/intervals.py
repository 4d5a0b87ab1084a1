"""Runs and stays as intervals: the constraint model behind two policies.

Every task has a first run and optional further ones, each at its own moment.  Every instance of a
value stays from the moment of its run to a moment that is chosen; stays of one value do not
overlap, and at every moment the stays, with the workspace of what runs, fit the budget.  A run is
served by one run of each task that it reads, earlier than itself, whose stays last beyond it.

Source: Burak Bartan, Haoming Li, Harris Teague, Christopher Lott, Bistra Dilkina. Moccasin:
Efficient Tensor Rematerialization for Neural Networks. ICML 2023.  What we changed: any number of
runs per task, moments without a grid of stages (the grid is an option), several values per task,
workspace, memory taken over, stages of binding, and a bound that holds for any number of runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from policies.compact import Compact
from policies.policy import Limits

__all__ = ["Answer", "solve_intervals"]

SCALE_BITS = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says.

    Attributes:
        sequence: task indices of the best order found, or None.
        bound_seconds: least seconds of any order with at most so many runs of each task.
        infeasible: True if no order with so many runs fits.
        complete: True if the search was not cut short.
        work: deterministic thousandths of a second that were spent.
    """

    sequence: list[int] | None
    bound_seconds: float
    infeasible: bool
    complete: bool
    work: int = 0


def solve_intervals(
    compact: Compact,
    runs: NDArray[np.int64],
    limits: Limits,
    *,
    stages: bool = False,
    hint: NDArray[np.int64] | None = None,
) -> Answer:
    """Find a best order with at most ``runs[t]`` runs of each task.

    Args:
        compact: the problem.
        runs: i64[n], at least one each.
        limits: work in thousandths of CP-SAT's deterministic seconds, on one worker.
        stages: further runs stand between first runs in the first order, at most one per gap.
        hint: a sequence to start from.

    Returns:
        The order and the bound.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> compact = compact_of(Problem(graph, first_order=tuple("abcd")), 12)
    >>> solve_intervals(compact, np.full(4, 2), Limits()).sequence
    [0, 1, 2, 0, 3]
    """
    if compact.n == 0:
        return Answer([] if compact.budget >= 0 else None, 0.0, compact.budget < 0, True)
    if compact.budget < 0:
        return Answer(None, 0.0, True, True)
    return _Model(compact, runs, stages).solve(limits, hint)


class _Model:
    """The variables of one model."""

    def __init__(self, compact: Compact, runs: NDArray[np.int64], stages: bool) -> None:
        self.compact = compact
        self.runs = [int(r) for r in runs]
        n = compact.n
        self.horizon = n * (n + 1) // 2 + 1 if stages else sum(self.runs)
        self.model: Any = cp_model.CpModel()
        self.start: list[list[Any]] = []
        self.present: list[list[Any]] = []
        self.end: dict[tuple[int, int], Any] = {}
        self.spans: list[Any] = []
        self.demands: list[int] = []
        sizes = [int(b) for b in compact.value_bytes]
        extra = [int(w) for w in compact.workspace]
        self.unit = math.gcd(*sizes, *extra, *(int(o) for o in compact.overwrite)) or 1
        self._runs(stages)
        self._stays()
        self._reads()
        self._must_live()
        self.model.add_cumulative(self.spans, self.demands, compact.budget // self.unit)
        self._objective()

    def _runs(self, stages: bool) -> None:
        """Moments and presence of every run."""
        model, n = self.model, self.compact.n
        moments: list[Any] = []
        for t in range(n):
            starts: list[Any] = []
            presents: list[Any] = []
            for i in range(self.runs[t]):
                name = f"{t}.{i}"
                if stages and i == 0:
                    moment = model.new_constant(t * (t + 1) // 2 + t)
                elif stages:
                    grid = [j * (j + 1) // 2 + t for j in range(t + 1, n)] or [self.horizon - 1]
                    domain = cp_model.Domain.from_values(grid)
                    moment = model.new_int_var_from_domain(domain, f"s{name}")
                else:
                    moment = model.new_int_var(0, self.horizon - 1, f"s{name}")
                here = model.new_constant(1) if i == 0 else model.new_bool_var(f"a{name}")
                if i:
                    model.add(moment > starts[-1])
                    if i > 1:
                        model.add_implication(here, presents[-1])
                starts.append(moment)
                presents.append(here)
                span = model.new_optional_fixed_size_interval_var(moment, 1, here, f"r{name}")
                moments.append(span)
                if self.compact.workspace[t] > 0:
                    self._demand(span, int(self.compact.workspace[t]))
            self.start.append(starts)
            self.present.append(presents)
        if not stages:
            model.add_no_overlap(moments)
        if not self.compact.free_order and not stages:
            for t in range(n - 1):
                model.add(self.start[t][0] < self.start[t + 1][0])

    def _demand(self, span: Any, size: int) -> None:
        self.spans.append(span)
        self.demands.append(size // self.unit)

    def _stays(self) -> None:
        """One stay per value and run."""
        compact, model = self.compact, self.model
        for t in range(compact.n):
            for v in range(compact.made_start[t], compact.made_start[t + 1]):
                for i in range(self.runs[t]):
                    name = f"{v}.{i}"
                    end = model.new_int_var(1, self.horizon, f"e{name}")
                    self.end[v, i] = end
                    begin, here = self.start[t][i], self.present[t][i]
                    model.add(end >= begin + 1)
                    if i + 1 < self.runs[t]:
                        model.add(end <= self.start[t][i + 1]).only_enforce_if(
                            self.present[t][i + 1]
                        )
                    if compact.value_bytes[v] > 0:
                        length = model.new_int_var(1, self.horizon, f"l{name}")
                        span = model.new_optional_interval_var(begin, length, end, here, f"h{name}")
                        self._demand(span, int(compact.value_bytes[v]))

    def _reads(self) -> None:
        """Every run is served by earlier runs whose stays last."""
        compact, model = self.compact, self.model
        boundary = self._boundary()
        for t in range(compact.n):
            read = compact.reads[compact.read_start[t] : compact.read_start[t + 1]]
            makers: dict[int, list[int]] = {}
            for v in read:
                makers.setdefault(int(compact.value_task[v]), []).append(int(v))
            over = int(compact.overwrite_value[t])
            for j in range(self.runs[t]):
                takes = None if over < 0 else model.new_bool_var(f"o{t}.{j}")
                if takes is not None:
                    self._takes_over(t, j, over, takes)
                for u, values in makers.items():
                    serves: list[Any] = []
                    for i in range(self.runs[u]):
                        by = model.new_bool_var(f"y{t}.{j}.{u}.{i}")
                        serves.append(by)
                        model.add_implication(by, self.present[u][i])
                        model.add(self.start[u][i] < self.start[t][j]).only_enforce_if(by)
                        for v in values:
                            moment = self.start[t][j]
                            if takes is not None and v == over:
                                # the stay ends as the outputs move in
                                last = self.end[v, i] == moment
                                model.add(last).only_enforce_if(by, takes)
                                stays = self.end[v, i] >= moment + 1
                                model.add(stays).only_enforce_if(by, ~takes)
                            else:
                                model.add(self.end[v, i] >= moment + 1).only_enforce_if(by)
                        barred = not compact.hold[u] and any(
                            compact.value_bytes[v] > 0 for v in values
                        )
                        if barred and not compact.known[t] and boundary is not None:
                            model.add(self.start[u][i] >= boundary).only_enforce_if(by)
                    model.add_bool_or([*serves, ~self.present[t][j]])

    def _takes_over(self, t: int, j: int, over: int, takes: Any) -> None:
        """While the outputs move in, only what they do not take over counts on top."""
        compact, model = self.compact, self.model
        model.add_implication(takes, self.present[t][j])
        rest = int(compact.value_bytes[over] - compact.overwrite[t])
        if rest > 0:
            moment = self.start[t][j]
            span = model.new_optional_fixed_size_interval_var(moment, 1, takes, f"w{t}.{j}")
            self._demand(span, rest)

    def _boundary(self) -> Any:
        """The moment at which the late part begins, or None if that matters to nobody."""
        compact, model = self.compact, self.model
        if compact.known.all() or compact.hold.all():
            return None
        unknown = np.flatnonzero(~compact.known)
        if not compact.free_order:
            first = int(unknown[0])
            return model.new_constant(0) if first == 0 else self.start[first - 1][0] + 1
        first = model.new_int_var(0, self.horizon, "first")
        boundary = model.new_int_var(0, self.horizon, "boundary")
        model.add_min_equality(first, [self.start[int(t)][0] for t in unknown])
        model.add(boundary <= first)
        for t in np.flatnonzero(compact.known):
            early = model.new_bool_var(f"early{t}")
            model.add(self.start[int(t)][0] < boundary).only_enforce_if(early)
            model.add(self.start[int(t)][0] > first).only_enforce_if(~early)
        return boundary

    def _must_live(self) -> None:
        """The last instance of what must live stays to the end."""
        model = self.model
        for v in np.flatnonzero(self.compact.must_live):
            t = int(self.compact.value_task[v])
            for i in range(self.runs[t]):
                last = self.end[int(v), i] == self.horizon
                after = [~p for p in self.present[t][i + 1 : i + 2]]
                if i == 0 and not after:
                    model.add(last)
                else:
                    model.add(last).only_enforce_if(self.present[t][i], *after)

    def _objective(self) -> None:
        """Seconds of the further runs, as integers that never exceed the true ones."""
        seconds = self.compact.seconds
        total = float(sum(s * r for s, r in zip(seconds, self.runs, strict=True)))
        whole = bool((seconds == np.floor(seconds)).all()) and total < 2**SCALE_BITS
        self.scale = 1.0 if whole or total <= 0 else 2.0**SCALE_BITS / total
        weight = [math.floor(s * self.scale) for s in seconds]
        self.base = float(sum(seconds.tolist()))
        terms = [
            weight[t] * self.present[t][i]
            for t in range(self.compact.n)
            for i in range(1, self.runs[t])
        ]
        self.model.minimize(sum(terms) if terms else 0)

    def _hint(self, sequence: NDArray[np.int64]) -> None:
        count = [0] * self.compact.n
        for position, task in enumerate(sequence.tolist()):
            i = count[task]
            count[task] += 1
            if i < self.runs[task]:
                self.model.add_hint(self.start[task][i], position)
                if i:
                    self.model.add_hint(self.present[task][i], 1)
        for t in range(self.compact.n):
            for i in range(max(1, count[t]), self.runs[t]):
                self.model.add_hint(self.present[t][i], 0)

    def solve(self, limits: Limits, hint: NDArray[np.int64] | None) -> Answer:
        """Run CP-SAT with one worker, so that the same limits give the same answer."""
        if hint is not None and len(hint) <= self.horizon:
            self._hint(hint)
        solver: Any = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = limits.seed
        solver.parameters.max_deterministic_time = max(limits.work, 1) / 1000
        if limits.time_seconds is not None:
            solver.parameters.max_time_in_seconds = max(limits.time_seconds, 0.01)
        status = solver.solve(self.model)
        work = math.ceil(1000 * solver.response_proto.deterministic_time)
        if status == cp_model.INFEASIBLE:
            return Answer(None, math.inf, True, True, work)
        bound = self.base
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN):
            least = solver.best_objective_bound
            # what is proved is an integer: round up what is not, but for the solver's own rounding
            bound += max(0, math.ceil(least - 1e-6)) / self.scale
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Answer(None, bound, False, False, work)
        events = sorted(
            (solver.value(self.start[t][i]), t)
            for t in range(self.compact.n)
            for i in range(self.runs[t])
            if i == 0 or solver.boolean_value(self.present[t][i])
        )
        complete = status == cp_model.OPTIMAL
        return Answer([t for _, t in events], bound, False, complete, work)
