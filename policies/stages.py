"""Lower bounds from several moments at once: a mixed-integer program over chosen stages.

At chosen stages p_1 < ... < p_K, `L[x, k]` says that value x is alive when p_k first runs, and
`R[t, k]` that task t runs again from p_k on and before p_(k+1) runs.  A value is alive at p_(k+1)
only if it was alive at p_k, ran again in between or was made in between; a task that runs again, or
runs first in between, finds what it reads alive or made again; at p_k everything fits.  Every plan
that keeps the order of first executions satisfies this, however often tasks run, so the optimum is
a lower bound for any choice of stages.  Transit rows add what happens between stages: a value alive
at both p_k and p_(k+1) that is not made again in between was alive all along, so it must fit
together with everything that runs in between.

The program is solved by HiGHS; its dual bound counts, not its best solution.

Source: the stage variables are those of Jain et al., "Checkmate" (MLSys 2020), enforced at few
stages only; the transit rows are ours.  HiGHS: Huangfu and Hall, "Parallelizing the dual revised
simplex method" (Mathematical Programming Computation, 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, sparse

from policies.gaps import expand

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.cutbound import Moments


@dataclass(frozen=True, slots=True)
class StageSolution:
    """What the program gave.

    Attributes:
        seconds: Seconds of recomputation that no plan avoids.
        pairs: Rows (stage, task) of the program's own plan, which need not fit; None if it found
            no solution.
        infeasible: Whether no plan fits at all.
        exact: Whether `seconds` is the optimum of the program.
    """

    seconds: float
    pairs: NDArray[np.int64] | None
    infeasible: bool
    exact: bool


class _Rows:
    """Collects the rows of a sparse matrix."""

    def __init__(self) -> None:
        self.row: list[NDArray[np.int64]] = []
        self.column: list[NDArray[np.int64]] = []
        self.entry: list[NDArray[np.float64]] = []
        self.low: list[NDArray[np.float64]] = []
        self.high: list[NDArray[np.float64]] = []
        self.count = 0

    def add(self, terms: list[tuple[Any, Any]], low: Any, high: Any, count: int) -> None:
        """Add `count` rows: each term is (columns, coefficients), one entry per row."""
        index = np.arange(self.count, self.count + count, dtype=np.int64)
        for columns, coefficients in terms:
            self.row.append(index)
            self.column.append(np.broadcast_to(np.asarray(columns, np.int64), count))
            self.entry.append(np.broadcast_to(np.asarray(coefficients, np.float64), count))
        self._sides(low, high, count)

    def entries(self, rows: Any, columns: Any, coefficients: Any) -> None:
        """Add entries to rows that exist already or are added next."""
        self.row.append(np.asarray(rows, np.int64))
        self.column.append(np.asarray(columns, np.int64))
        self.entry.append(np.asarray(coefficients, np.float64))

    def _sides(self, low: Any, high: Any, count: int) -> None:
        self.low.append(np.broadcast_to(np.asarray(low, np.float64), count))
        self.high.append(np.broadcast_to(np.asarray(high, np.float64), count))
        self.count += count

    def single(self, columns: Any, coefficients: Any, low: float, high: float) -> None:
        """Add one row."""
        self.entries(np.full(len(columns), self.count), columns, coefficients)
        self._sides(low, high, 1)

    def constraint(self, columns: int) -> optimize.LinearConstraint:
        """Return the rows for scipy."""
        matrix = sparse.csr_matrix(
            (
                np.concatenate(self.entry),
                (np.concatenate(self.row), np.concatenate(self.column)),
            ),
            shape=(self.count, columns),
        )
        low: Any = np.concatenate(self.low)
        high: Any = np.concatenate(self.high)
        return optimize.LinearConstraint(matrix, low, high)


class StageProgram:
    """The program of one graph and budget, for any choice of stages.

    Args:
        problem: The compact problem, with its budget.
        moments: Of the problem.
        transit: Whether to add the transit rows.
    """

    def __init__(self, problem: Compact, moments: Moments, *, transit: bool = True) -> None:
        """Prepare what does not depend on the stages."""
        self.problem = problem
        self.moments = moments
        self.transit = transit
        total = float(problem.seconds.sum())
        self.unit = total / 1e4 if total > 0 else 1.0
        self.byte = max(1.0, problem.budget / 1e3)
        self.reader = np.repeat(np.arange(problem.n, dtype=np.int64), np.diff(problem.read_start))

    def solve(
        self, stages: list[int], seconds: float | None, nodes: int | None, below: float = math.inf
    ) -> StageSolution:
        """Solve the program.

        Args:
            stages: Where memory is enforced, ascending.
            seconds: Time limit, or None.
            nodes: Limit on branch-and-bound nodes, or None; deterministic.
            below: Recomputation of a known plan, s: the bound is not pushed beyond it.
        """
        model = _Model(self, stages)
        if not model.columns:
            nothing = np.zeros((0, 2), np.int64)
            return StageSolution(0.0, nothing, infeasible=False, exact=True)
        lower: Any = model.lower
        upper: Any = model.upper
        options: dict[str, Any] = {"disp": False, "presolve": True, "mip_rel_gap": 0.0}
        if seconds is not None:
            options["time_limit"] = seconds
        if nodes is not None:
            options["node_limit"] = nodes
        constraints = [model.rows.constraint(model.columns)]
        result = optimize.milp(
            model.cost,
            integrality=model.integral,
            bounds=optimize.Bounds(lower, upper),
            constraints=constraints,
            options=options,
        )
        if result.status == 2:
            return StageSolution(0.0, None, infeasible=True, exact=False)
        dual = result.mip_dual_bound
        if dual is None or not math.isfinite(dual):
            dual = 0.0
        bound = max(0.0, (float(dual) - 1e-5) * self.unit)
        pairs = None
        if result.x is not None:
            pairs = model.expand(np.asarray(result.x, np.float64))
        return StageSolution(min(bound, below), pairs, infeasible=False, exact=result.status == 0)


class _Model:
    """Variables and rows for one choice of stages."""

    def __init__(self, program: StageProgram, stages: list[int]) -> None:
        self.program = program
        self.stages = stages
        problem = program.problem
        values, n = len(problem.value_bytes), problem.n
        self.rows = _Rows()
        self.live: list[NDArray[np.int64]] = []
        self.again: list[NDArray[np.int64]] = []
        self.columns = 0
        self.need: list[NDArray[np.bool_]] = []
        for p in stages:
            needed, tasks = self._closure(p)
            live = np.full(values, -1, np.int64)
            index = np.flatnonzero(needed)
            live[index] = self.columns + np.arange(len(index))
            self.columns += len(index)
            again = np.full(n, -1, np.int64)
            index = np.flatnonzero(tasks)
            again[index] = self.columns + np.arange(len(index))
            self.columns += len(index)
            self.live.append(live)
            self.again.append(again)
        self._binaries = self.columns
        self.lower = np.zeros(self.columns)
        self.upper = np.ones(self.columns)
        for k in range(len(stages)):
            self._stage(k)
        if program.transit:
            for k in range(len(stages)):
                self._transit(k)
        grown = self.columns - self._binaries
        self.lower = np.concatenate([self.lower, np.zeros(grown)])
        self.upper = np.concatenate([self.upper, np.full(grown, np.inf)])
        self.integral = np.concatenate([np.ones(self._binaries), np.zeros(grown)])
        self.cost = np.zeros(self.columns)
        for again in self.again:
            tasks = np.flatnonzero(again >= 0)
            self.cost[again[tasks]] = problem.seconds[tasks] / program.unit

    def _closure(self, p: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the values that may be worth holding at p, and the tasks worth running again."""
        problem = self.program.problem
        moments = self.program.moments
        needed = ((moments.last_read > p) | problem.must_live) & (problem.value_task < p)
        needed[problem.reads[problem.read_start[p] : problem.read_start[p + 1]]] = True
        tasks = np.zeros(problem.n, np.bool_)
        for t in range(p - 1, -1, -1):
            made = slice(problem.made_start[t], problem.made_start[t + 1])
            if problem.rerun[t] and needed[made].any():
                tasks[t] = True
                needed[problem.reads[problem.read_start[t] : problem.read_start[t + 1]]] = True
        return needed, tasks

    def _stage(self, k: int) -> None:
        """Rows of one stage and of the tasks that run before the next."""
        program, rows = self.program, self.rows
        problem = program.problem
        p = self.stages[k]
        stop = self.stages[k + 1] if k + 1 < len(self.stages) else problem.n
        live, again = self.live[k], self.again[k]
        inputs = problem.reads[problem.read_start[p] : problem.read_start[p + 1]]
        self.lower[live[inputs]] = 1.0
        held = np.flatnonzero(live >= 0)
        rows.single(
            live[held],
            problem.value_bytes[held] / program.byte,
            -np.inf,
            float(problem.budget - program.moments.own[p]) / program.byte,
        )
        # what runs again finds what it reads
        reader, value = program.reader, problem.reads
        use = np.flatnonzero((again[reader] >= 0) & (live[value] >= 0))
        self._available(again[reader[use]], value[use], k)
        # what runs first before the next stage finds what it reads
        use = np.flatnonzero((reader > p) & (reader <= stop) & (reader < problem.n))
        use = use[problem.value_task[value[use]] < p]
        first = np.unique(value[use])
        self._needed(first, k)
        if k + 1 == len(self.stages):
            end = np.flatnonzero(problem.must_live & (problem.value_task < p))
            self._needed(end, k)
            return
        following = self.live[k + 1]
        both = np.flatnonzero((following >= 0) & (problem.value_task < p))
        column = again[problem.value_task[both]]
        on = live[both] >= 0
        # alive next: alive now, or made again in between
        some = both[on & (column >= 0)]
        rows.add(
            [
                (following[some], 1.0),
                (live[some], -1.0),
                (again[problem.value_task[some]], -1.0),
            ],
            -np.inf,
            0.0,
            len(some),
        )
        some = both[on & (column < 0)]
        rows.add([(following[some], 1.0), (live[some], -1.0)], -np.inf, 0.0, len(some))
        dead = both[~on]
        if len(dead):
            self.upper[following[dead]] = 0.0

    def _available(self, reader: NDArray[np.int64], value: NDArray[np.int64], k: int) -> None:
        """R[reader] <= L[value] + R[its task]."""
        source = self.again[k][self.program.problem.value_task[value]]
        live = self.live[k][value]
        yes = source >= 0
        self.rows.add(
            [(reader[yes], 1.0), (live[yes], -1.0), (source[yes], -1.0)],
            -np.inf,
            0.0,
            int(yes.sum()),
        )
        no = ~yes
        self.rows.add([(reader[no], 1.0), (live[no], -1.0)], -np.inf, 0.0, int(no.sum()))

    def _needed(self, value: NDArray[np.int64], k: int) -> None:
        """1 <= L[value] + R[its task]."""
        source = self.again[k][self.program.problem.value_task[value]]
        live = self.live[k][value]
        yes = source >= 0
        self.rows.add([(live[yes], 1.0), (source[yes], 1.0)], 1.0, np.inf, int(yes.sum()))
        self.lower[live[~yes]] = 1.0

    def _transit(self, k: int) -> None:
        """What stays from stage k to the next fits together with all that runs in between."""
        program, rows = self.program, self.rows
        problem = program.problem
        p = self.stages[k]
        last = k + 1 == len(self.stages)
        stop = problem.n if last else self.stages[k + 1]
        live, again = self.live[k], self.again[k]
        if last:
            return
        following = self.live[k + 1]
        stay = np.flatnonzero((live >= 0) & (following >= 0) & (problem.value_bytes > 0))
        if not len(stay):
            return
        transit = np.full(len(problem.value_bytes), -1, np.int64)
        transit[stay] = self.columns + np.arange(len(stay))
        self.columns += len(stay)
        sum_ = self.columns
        self.columns += 1
        source = again[problem.value_task[stay]]
        yes = stay[source >= 0]
        rows.add(
            [
                (transit[yes], 1.0),
                (live[yes], -1.0),
                (following[yes], -1.0),
                (again[problem.value_task[yes]], 1.0),
            ],
            -1.0,
            np.inf,
            len(yes),
        )
        no = stay[source < 0]
        rows.add(
            [(transit[no], 1.0), (live[no], -1.0), (following[no], -1.0)], -1.0, np.inf, len(no)
        )
        size = problem.value_bytes / program.byte
        rows.single(
            np.concatenate([[sum_], transit[stay]]),
            np.concatenate([[1.0], -size[stay]]),
            0.0,
            np.inf,
        )
        budget = problem.budget / program.byte
        own = program.moments.own / program.byte
        for v in np.flatnonzero(again >= 0):
            self._together(int(v), transit, sum_, size, float(own[v]), budget, int(again[v]))
        for v in range(p + 1, stop):
            self._together(v, transit, sum_, size, float(own[v]), budget, -1)

    def _together(  # noqa: PLR0917 (one row of the program)
        self,
        task: int,
        transit: NDArray[np.int64],
        sum_: int,
        size: NDArray[np.float64],
        own: float,
        budget: float,
        again: int,
    ) -> None:
        """What stays, less what the task reads or makes itself, and its working set fit."""
        problem = self.program.problem
        read = problem.reads[problem.read_start[task] : problem.read_start[task + 1]]
        made = np.arange(problem.made_start[task], problem.made_start[task + 1])
        working = own + float(size[read].sum())
        mine = np.concatenate([read, made])
        mine = mine[transit[mine] >= 0]
        columns = np.concatenate([[sum_], transit[mine]])
        entries = np.concatenate([[1.0], -size[mine]])
        if again >= 0:
            columns = np.concatenate([columns, [again]])
            entries = np.concatenate([entries, [working]])
            self.rows.single(columns, entries, -np.inf, budget)
        else:
            self.rows.single(columns, entries, -np.inf, budget - working)

    def expand(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows (stage, task) of a solution: each task as late as it is needed."""
        problem = self.program.problem
        again = np.zeros((len(self.stages), problem.n), np.bool_)
        for k, column in enumerate(self.again):
            tasks = np.flatnonzero(column >= 0)
            again[k, tasks] = x[column[tasks]] > 0.5
        return expand(problem, self.stages, again)
