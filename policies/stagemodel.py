"""Variables and rows of the stage program: what memory at chosen stages demands.

At chosen stages p_1 < ... < p_K, `L[x, k]` says that value x is alive when p_k first runs, and
`R[t, k]` that task t runs again from p_k on and before p_(k+1) runs.  A value is alive at p_(k+1)
only if it was alive at p_k, ran again in between or was made in between; a task that runs again, or
runs first in between, finds what it reads alive or made again; at p_k everything fits.  Every plan
that keeps the order of first executions satisfies this, however often tasks run, so the optimum is
a lower bound for any choice of stages.  Transit rows add what happens between stages: a value made
by p_k or before, alive at p_(k+1) and not made again in between was alive all along, so it must fit
together with everything that runs in between.

Between integers that is all; between fractions it is not: a task that runs a fifth in each of five
intervals finds a fifth of what it reads five times over.  So `Q[t, k]`, that t runs again at any
time from p_k on, asks once more, for the whole time after p_k, what `mincut` asks at one stage:
what is needed later is alive at p_k or runs again, and what runs again finds what it reads alive at
p_k or running again.  With these rows the relaxation is no weaker than the best cut at any of its
stages, and often stronger than all of them.  A span, from p_j to p_k, asks the same for the time
between two stages that are not neighbours.  All spans would be too many rows; `spans` finds those
that a solution in fractions breaks.

Source: the stage variables are those of Jain et al., "Checkmate" (MLSys 2020), enforced at few
stages only; the transit rows, and the rows on spans and on all that follows a stage, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.gaps import expand
from policies.milp import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.cutbound import Moments

__all__ = ["Borders", "StageModel"]

TOLERANCE = 1e-5
"""Slack of rows of memory, in thousandths of the budget: what is called infeasible really is."""


@dataclass(frozen=True, slots=True)
class Borders:
    """How a stretch of a plan is closed off, for a program that plans what lies between.

    Attributes:
        entering: bool[values], alive at the first stage.
        leaving: bool[values], alive at the last stage, after which everything stays as it is.
    """

    entering: NDArray[np.bool_]
    leaving: NDArray[np.bool_]


class StageModel:
    """Variables and rows for one choice of stages.

    Args:
        problem: The compact problem, with its budget.
        moments: Of the problem.
        stages: Where memory is enforced, ascending.
        unit: Seconds that count as one.
        transit: Whether to add the transit rows.
        spans: Pairs of stages, ascending, whose time between is asked about as a whole.
        borders: For a program about a stretch of a plan; then its optimum is no bound.

    Attributes:
        cost: f64[columns], of each variable, in units.
        lower: f64[columns].
        upper: f64[columns].
        integral: bool[columns].
        rows: What must hold.
        columns: Number of variables.
    """

    def __init__(
        self,
        problem: Compact,
        moments: Moments,
        stages: list[int],
        unit: float,
        *,
        transit: bool,
        spans: Sequence[tuple[int, int]] = (),
        borders: Borders | None = None,
    ) -> None:
        """Write the program down."""
        self.problem = problem
        self.moments = moments
        self.stages = stages
        self.byte = max(1.0, problem.budget / 1e3)
        self.reader = np.repeat(np.arange(problem.n, dtype=np.int64), np.diff(problem.read_start))
        self.rows = Rows()
        self.live: list[NDArray[np.int64]] = []
        self.again: list[NDArray[np.int64]] = []
        self.columns = 0
        for p in stages:
            needed, tasks = self._closure(p)
            self.live.append(self._variables(needed))
            self.again.append(self._variables(tasks))
        binaries = self.columns
        self.lower = np.zeros(binaries)
        self.upper = np.ones(binaries)
        for k in range(len(stages)):
            self._stage(k, closed=borders is not None)
        self.after = self._after() if borders is None else list(self.again)
        if borders is not None:
            self._close(borders)
        place = {p: k for k, p in enumerate(stages)}
        for p, q in spans:
            self._span(place[p], place[q])
        shares = self.columns - binaries
        if transit:
            for k in range(len(stages) - 1):
                self._transit(k)
        bytes_ = self.columns - binaries - shares
        self.lower = np.concatenate([self.lower, np.zeros(shares + bytes_)])
        self.upper = np.concatenate([self.upper, np.ones(shares), np.full(bytes_, np.inf)])
        self.integral = np.arange(self.columns) < binaries
        self.cost = np.zeros(self.columns)
        for again in self.again:
            tasks = np.flatnonzero(again >= 0)
            self.cost[again[tasks]] = problem.seconds[tasks] / unit

    def _variables(self, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Give each wanted place a new variable, the others -1."""
        found = np.full(len(wanted), -1, np.int64)
        index = np.flatnonzero(wanted)
        found[index] = self.columns + np.arange(len(index))
        self.columns += len(index)
        return found

    def _closure(self, p: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the values that may be worth holding at p, and the tasks worth running again."""
        problem = self.problem
        moments = self.moments
        needed = ((moments.last_read > p) | problem.must_live) & (problem.value_task < p)
        needed[problem.reads[problem.read_start[p] : problem.read_start[p + 1]]] = True
        tasks = np.zeros(problem.n, np.bool_)
        for t in range(p - 1, -1, -1):
            made = slice(problem.made_start[t], problem.made_start[t + 1])
            if problem.rerun[t] and needed[made].any():
                tasks[t] = True
                needed[problem.reads[problem.read_start[t] : problem.read_start[t + 1]]] = True
        tasks[p] = problem.rerun[p]  # after its first run, and before the next stage
        return needed, tasks

    def _close(self, borders: Borders) -> None:
        """Begin and end with what the borders say, and run nothing again after the last stage."""
        first, last, again = self.live[0], self.live[-1], self.again[-1]
        self.upper[first[(first >= 0) & ~borders.entering]] = 0.0
        self.lower[last[(last >= 0) & borders.leaving]] = 1.0
        self.upper[again[again >= 0]] = 0.0

    def _stage(self, k: int, *, closed: bool) -> None:
        """Rows of one stage and of the tasks that run before the next."""
        rows, problem = self.rows, self.problem
        p = self.stages[k]
        last = k + 1 == len(self.stages)
        stop = problem.n if last else self.stages[k + 1]
        live, again = self.live[k], self.again[k]
        inputs = problem.reads[problem.read_start[p] : problem.read_start[p + 1]]
        self.lower[live[inputs]] = 1.0
        held = np.flatnonzero(live >= 0)
        rows.single(
            live[held],
            problem.value_bytes[held] / self.byte,
            -np.inf,
            float(problem.budget - self.moments.own[p]) / self.byte + TOLERANCE,
        )
        if last and closed:
            return
        self._available(live, again)
        # what runs first before the next stage finds what it reads
        use = np.flatnonzero((self.reader > p) & (self.reader <= stop))
        first = np.zeros(len(live), np.bool_)
        first[problem.reads[use]] = True
        if last:
            first |= problem.must_live
        self._needed(np.flatnonzero(first & (problem.value_task < p)), live, again)
        if last:
            return
        following = self.live[k + 1]
        both = np.flatnonzero((following >= 0) & (problem.value_task < p))
        column = again[problem.value_task[both]]
        on = live[both] >= 0
        # alive next: alive now, or made again in between
        some = both[on & (column >= 0)]
        source = again[problem.value_task[some]]
        rows.add(
            [(following[some], 1.0), (live[some], -1.0), (source, -1.0)], -np.inf, 0.0, len(some)
        )
        some = both[on & (column < 0)]
        rows.add([(following[some], 1.0), (live[some], -1.0)], -np.inf, 0.0, len(some))
        dead = both[~on]
        if len(dead):
            self.upper[following[dead]] = 0.0

    def _after(self) -> list[NDArray[np.int64]]:
        """Rows for all the time after each stage; return the variables Q of each stage."""
        problem, rows = self.problem, self.rows
        after = list(self.again)
        for k in range(len(self.stages) - 2, -1, -1):
            p, live, again, later = self.stages[k], self.live[k], self.again[k], after[k + 1]
            whole = after[k] = self._variables(again >= 0)
            tasks = np.flatnonzero(again >= 0)
            rows.add([(whole[tasks], 1.0), (again[tasks], -1.0)], 0.0, np.inf, len(tasks))
            both = tasks[later[tasks] >= 0]
            rows.add([(whole[both], 1.0), (later[both], -1.0)], 0.0, np.inf, len(both))
            parts = [(whole[both], 1.0), (again[both], -1.0), (later[both], -1.0)]
            rows.add(parts, -np.inf, 0.0, len(both))
            once = tasks[later[tasks] < 0]
            rows.add([(whole[once], 1.0), (again[once], -1.0)], -np.inf, 0.0, len(once))
            self._available(live, whole)
            need = ((self.moments.last_read > p) | problem.must_live) & (problem.value_task < p)
            self._needed(np.flatnonzero(need), live, whole)
        return after

    def _span(self, j: int, k: int) -> None:
        """Rows for the time from stage j to stage k as a whole."""
        problem, rows = self.problem, self.rows
        live, following = self.live[j], self.live[k]
        whole = self._variables(self.again[j] >= 0)
        tasks = np.flatnonzero(whole >= 0)
        parts: list[tuple[Any, Any]] = [(whole[tasks], 1.0)]
        for again in self.again[j:k]:
            some = tasks[again[tasks] >= 0]
            rows.add([(whole[some], 1.0), (again[some], -1.0)], 0.0, np.inf, len(some))
            there = again[tasks] >= 0
            parts.append((np.where(there, again[tasks], whole[tasks]), np.where(there, -1.0, 0.0)))
        rows.add(parts, -np.inf, 0.0, len(tasks))
        self._available(live, whole)
        self._needed(self.read_within(j, k), live, whole)
        stay = self.kept(j, k)
        source = whole[problem.value_task[stay]]
        terms = [(following[stay], 1.0), (live[stay], -1.0), (source, -1.0)]
        rows.add(terms, -np.inf, 0.0, len(stay))

    def read_within(self, j: int, k: int) -> NDArray[np.int64]:
        """Return the values made before stage j that run first after it and up to stage k read."""
        problem, p = self.problem, self.stages[j]
        use = np.flatnonzero((self.reader > p) & (self.reader <= self.stages[k]))
        read = np.zeros(len(problem.value_task), np.bool_)
        read[problem.reads[use]] = True
        return np.flatnonzero(read & (problem.value_task < p))

    def kept(self, j: int, k: int) -> NDArray[np.int64]:
        """Return the values of stage j that stage k knows and that can run again in between."""
        maker = self.problem.value_task
        known = (self.live[j] >= 0) & (self.live[k] >= 0) & (maker < self.stages[j])
        return np.flatnonzero(known & (self.again[j][maker] >= 0))

    def _available(self, live: NDArray[np.int64], again: NDArray[np.int64]) -> None:
        """What runs again finds what it reads: again[t] <= live[value] + again[its task]."""
        problem = self.problem
        use = np.flatnonzero((again[self.reader] >= 0) & (live[problem.reads] >= 0))
        reader, value = again[self.reader[use]], live[problem.reads[use]]
        source = again[problem.value_task[problem.reads[use]]]
        yes = source >= 0
        self.rows.add(
            [(reader[yes], 1.0), (value[yes], -1.0), (source[yes], -1.0)],
            -np.inf,
            0.0,
            int(yes.sum()),
        )
        no = ~yes
        self.rows.add([(reader[no], 1.0), (value[no], -1.0)], -np.inf, 0.0, int(no.sum()))

    def _needed(
        self, value: NDArray[np.int64], live: NDArray[np.int64], again: NDArray[np.int64]
    ) -> None:
        """What is needed is alive or runs again: 1 <= live[value] + again[its task]."""
        source = again[self.problem.value_task[value]]
        yes = source >= 0
        self.rows.add([(live[value[yes]], 1.0), (source[yes], 1.0)], 1.0, np.inf, int(yes.sum()))
        self.lower[live[value[~yes]]] = 1.0

    def _transit(self, k: int) -> None:
        """What stays from stage k to the next fits together with all that runs in between."""
        rows, problem = self.rows, self.problem
        p, stop = self.stages[k], self.stages[k + 1]
        live, again = self.live[k], self.again[k]
        following = self.live[k + 1]
        fresh = problem.value_task == p
        staying = ((live >= 0) | fresh) & (following >= 0) & (problem.value_bytes > 0)
        stay = np.flatnonzero(staying)
        if not len(stay):
            return
        transit = self._variables(staying)
        sum_ = self.columns
        self.columns += 1
        source = again[problem.value_task[stay]]
        yes, no = stay[source >= 0], stay[source < 0]
        made = again[problem.value_task[yes]]
        rows.add([(transit[yes], 1.0), (following[yes], -1.0), (made, 1.0)], 0.0, np.inf, len(yes))
        rows.add([(transit[no], 1.0), (following[no], -1.0)], 0.0, np.inf, len(no))
        size = problem.value_bytes / self.byte
        rows.single(
            np.concatenate([[sum_], transit[stay]]),
            np.concatenate([[1.0], -size[stay]]),
            0.0,
            np.inf,
        )
        budget = problem.budget / self.byte + TOLERANCE
        own = self.moments.own / self.byte
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
        problem = self.problem
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

    def over(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return f64[n], bytes by which a solution leaves each stage over budget, at least.

        A value that a stage needs later is alive there but for the part of it that runs again in
        the time that follows.
        """
        problem, last = self.problem, self.moments.last_read
        until = np.where(problem.must_live, problem.n - 1, last)
        over = np.asarray(self.moments.baseline - problem.budget, np.float64)
        borders = [0, *self.stages[1:], problem.n]
        for k in range(len(self.stages)):
            part = self._shares(x, k)[problem.value_task]
            later = self._shares(x, k + 1)[problem.value_task]
            gone = np.where(problem.value_task < self.stages[k], part, later)
            if k + 1 < len(self.stages):  # what is alive at the next stage and not made again was
                held = self.live[k + 1]
                known = held >= 0
                again = self.again[k][problem.value_task[known]]
                made = np.where(again >= 0, x[np.maximum(again, 0)], 0.0)
                gone[known] = np.minimum(gone[known], 1.0 - x[held[known]] + made)
            gone = np.maximum(gone, 0.0) * problem.value_bytes
            change = np.zeros(problem.n + 1)
            np.add.at(change, problem.value_task, gone)
            np.add.at(change, until, -gone)
            relief = np.cumsum(change[: problem.n])
            # what a stage makes or reads itself is there in full
            np.add.at(relief, problem.value_task, -gone)
            read = self.reader < until[problem.reads]
            np.add.at(relief, self.reader[read], -gone[problem.reads[read]])
            over[borders[k] : borders[k + 1]] -= relief[borders[k] : borders[k + 1]]
        return over

    def _shares(self, x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        """Return f64[n], the part of each task that runs again from stage k on."""
        shares = np.zeros(self.problem.n)
        if k < len(self.stages):
            tasks = np.flatnonzero(self.after[k] >= 0)
            shares[tasks] = np.minimum(1.0, x[self.after[k][tasks]])
        return shares

    def expand(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows (stage, task) of a solution: each task as late as it is needed."""
        problem = self.problem
        again = np.zeros((len(self.stages), problem.n), np.bool_)
        for k, column in enumerate(self.again):
            tasks = np.flatnonzero(column >= 0)
            again[k, tasks] = x[column[tasks]] > 0.5
        return expand(problem, self.stages, again)
