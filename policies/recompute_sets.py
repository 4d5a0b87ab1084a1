# ruff: noqa: PLR0917 (inner functions take the seven arrays in one order)
"""Local search over sets of recomputations, for a fixed order of first executions.

A plan is a set of pairs (stage, task); every set is feasible as far as data goes, so a move adds,
removes or shifts pairs and `lifetimes` says at once what that does to memory.  The search is an
annealing on seconds plus a price on the bytes over budget, summed over stages, with moves that aim
at the stages that are over budget: take a value that is held idle across such a stage and run its
task again before its next read, together with the tasks whose values are gone by then.

Source: a fixed order makes every set of recomputations feasible: Bartan et al., "Moccasin" (ICML
2023); annealing: Kirkpatrick, Gelatt and Vecchi, "Optimization by Simulated Annealing" (Science,
1983).  The moves are ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from policies.lifetimes import (
    BEST,
    COUNT,
    EXCESS,
    LIMIT,
    LIVE,
    NOW,
    RANDOM,
    STAGE,
    TASK,
    Lifetimes,
    find,
    lifetimes,
    pairs_of,
    replace_all,
)  # fmt: skip
from policies.moves import chance, delete, propose, prune, undo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact

# fmt: off


@njit(cache=True)
def anneal(ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, work: Any,
           candidates: Any, best: Any, steps: int, heat: float, cool: float,
           price: float) -> None:
    """Make `steps` moves while the temperature falls from `heat` to `cool` (s).

    `cost[BEST]` and `best` (rows stage, task; row 0 their number) keep the best plan that fits;
    `price` is in seconds per byte over budget per stage.
    """
    factor = (cool / heat) ** (1.0 / max(1, steps))
    temperature = heat
    for _ in range(steps):
        temperature *= factor
        before = cost[NOW] + price * num[EXCESS]
        cost[LIMIT] = cost[NOW] + 25.0 * temperature
        work[0, 0] = 0
        propose(ev, tk, vl, rd, peak, num, cost, work, candidates)
        if work[0, 0] == 0:
            continue
        change = cost[NOW] + price * num[EXCESS] - before
        if change > 0 and chance(num) >= math.exp(-change / temperature):
            undo(ev, tk, vl, rd, peak, num, cost, work)
        elif num[EXCESS] == 0 and cost[NOW] < cost[BEST] * (1.0 - 1e-12):
            cost[BEST] = cost[NOW]
            best[0, 0] = num[COUNT]
            for i in range(num[COUNT]):
                best[i + 1, 0] = ev[ev[i, LIVE], STAGE]
                best[i + 1, 1] = ev[ev[i, LIVE], TASK]


@njit(cache=True)
def fill(ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, work: Any,
         order: Any) -> None:
    """Take out every recomputation that the budget does not need, pair by pair of `order`."""
    for i in range(len(order)):
        stage, task = order[i, 0], order[i, 1]
        event = find(ev, task, stage)
        if event < len(peak) or ev[event, STAGE] != stage:
            continue
        before = num[EXCESS]
        work[0, 0] = 0
        if not delete(ev, tk, vl, rd, peak, num, cost, work, event):
            continue
        prune(ev, tk, vl, rd, peak, num, cost, work, stage, task)
        if num[EXCESS] > before:
            undo(ev, tk, vl, rd, peak, num, cost, work)

# fmt: on


def drop_candidates(problem: Compact) -> NDArray[np.int64]:
    """Return the values worth dropping, each as often as its bytes ask for (1 to 16 times)."""
    used = np.zeros(len(problem.value_bytes), np.bool_)
    used[problem.reads] = True
    able = np.flatnonzero(used & (problem.value_bytes > 0) & problem.rerun[problem.value_task])
    if not len(able):
        return able
    size = problem.value_bytes[able].astype(np.float64)
    times = np.clip(np.round(4.0 * size / size.mean()), 1, 16).astype(np.int64)
    return np.repeat(able, times)


class SetSearch:
    """A local search that can be continued, restarted and read at any moment.

    Args:
        problem: The compact problem, with its budget.
        baseline: Bytes alive at each task if nothing is recomputed.
        seed: Of the random moves.
        price: A first price of memory, s/B.
        calls: How often everything from the first unknown task on runs.
    """

    def __init__(
        self,
        problem: Compact,
        baseline: NDArray[np.int64],
        seed: int,
        price: float,
        calls: float = 1.0,
    ) -> None:
        """Allocate the state."""
        capacity = min(20 * problem.n + 2000, problem.n * problem.n + 1)
        self.problem = problem
        self.plan: Lifetimes = lifetimes(problem, baseline, capacity, calls)
        self.candidates = drop_candidates(problem)
        self.price = price
        mean = float(problem.seconds.mean()) if problem.n else 0.0
        self.unit = mean if mean > 0 else 1.0
        self._work = np.zeros((5000, 4), np.int64)
        self._best = np.zeros((capacity + 2, 2), np.int64)
        self.plan.num[RANDOM] = 88172645463325252 + 1442695040888963407 * (seed % 5)
        self.plan.num[RANDOM] ^= seed + 1

    @property
    def best_seconds(self) -> float:
        """Seconds of recomputation of the best plan that fits; infinite if there is none."""
        return float(self.plan.cost[BEST])

    def best_pairs(self) -> NDArray[np.int64]:
        """Return the rows (stage, task) of the best plan that fits."""
        rows = self._best[1 : 1 + int(self._best[0, 0])]
        return np.ascontiguousarray(rows[np.lexsort((rows[:, 1], rows[:, 0]))])

    def start(self, pairs: NDArray[np.int64]) -> None:
        """Continue from the given plan, and remember it if it fits and is the best."""
        replace_all(*self.plan.arrays, np.ascontiguousarray(pairs, np.int64))
        self._remember()

    def fill(self) -> None:
        """Take out recomputations that the budget does not need, the dearest per byte first."""
        pairs = pairs_of(self.plan)
        if not len(pairs):
            return
        made = np.zeros(self.problem.n, np.float64)
        np.add.at(made, self.problem.value_task, self.problem.value_bytes)
        worth = self.problem.seconds[pairs[:, 1]] / (made[pairs[:, 1]] + 1.0)
        order = np.ascontiguousarray(pairs[np.argsort(-worth, kind="stable")])
        fill(*self.plan.arrays, self._work, order)
        self._remember()

    def run(self, steps: int, heat: float, cool: float) -> None:
        """Anneal.

        Args:
            steps: Moves.
            heat: First temperature, in mean seconds of a task.
            cool: Last temperature, likewise.
        """
        if len(self.candidates):
            anneal(
                *self.plan.arrays,
                self._work,
                self.candidates,
                self._best,
                steps,
                heat * self.unit,
                cool * self.unit,
                self.price,
            )

    def _remember(self) -> None:
        if self.plan.excess == 0 and self.plan.seconds < self.best_seconds:
            rows = pairs_of(self.plan)
            self.plan.cost[BEST] = self.plan.cost[NOW]
            self._best[0, 0] = len(rows)
            self._best[1 : 1 + len(rows)] = rows
