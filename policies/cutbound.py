"""Lower bounds from one moment: the parametric min cut at the loss and at the heaviest stages.

When task `t` runs for the first time, the values alive fit into the budget; every later task still
runs; what it reads and is not alive is made again, with all that this needs.  So the two-node cut
of `mincut` at `t`, maximised over the price of memory, bounds the recomputation of every plan
that keeps the order of first executions.  Nothing is assumed about how often a task runs: the
bound holds for unlimited recomputation of forward and backward tasks alike.

Source: our own notes; the cut is described in `mincut`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.mincut import TwoNodeCut, best_price

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact


@dataclass(frozen=True, slots=True)
class Moments:
    """What the order of first executions alone says about memory.

    Attributes:
        last_read: Per value, the last task that reads it for the first time (its own if none).
        baseline: Per task, bytes alive while it first runs if nothing is recomputed.
        own: Per task, bytes of its outputs and workspace, less what it may take over in place.
        inputs: Per task, bytes of the values that it reads.
    """

    last_read: NDArray[np.int64]
    baseline: NDArray[np.int64]
    own: NDArray[np.int64]
    inputs: NDArray[np.int64]


def moments(problem: Compact) -> Moments:
    """Compute the memory of the plan that recomputes nothing.

    Complexity:
        O(tasks + reads).
    """
    n = problem.n
    owner = np.asarray(problem.value_task, np.int64)
    reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(problem.read_start))
    last = owner.copy()
    np.maximum.at(last, problem.reads, reader)
    stop = np.where(problem.must_live, n - 1, last)
    made = np.zeros(n, np.int64)
    np.add.at(made, owner, problem.value_bytes)
    inputs = np.zeros(n, np.int64)
    np.add.at(inputs, reader, problem.value_bytes[problem.reads])
    change = np.zeros(n + 1, np.int64)
    np.add.at(change, owner, problem.value_bytes)
    np.add.at(change, stop + 1, -problem.value_bytes)
    taken = problem.overwrite
    over = problem.overwrite_value
    valid = np.flatnonzero(over >= 0)
    dies = np.zeros(n, np.bool_)
    dies[valid] = (last[over[valid]] == valid) & ~problem.must_live[over[valid]]
    live = np.cumsum(change[:n]) + problem.workspace
    return Moments(last, live - np.where(dies, taken, 0), made + problem.workspace - taken, inputs)


@dataclass(frozen=True, slots=True)
class CutBound:
    """The best cut bound.

    Attributes:
        seconds: Seconds of recomputation that no plan avoids.
        task: The task at whose first execution memory is counted; -1 if the bound is 0.
        price: Price of memory there, s/B: what one more byte would save.
    """

    seconds: float
    task: int
    price: float


class CutBounder:
    """Cut bounds of one graph at any budget; the network is built once.

    Args:
        problem: The compact problem.
        most: Stages at which cuts are tried.
    """

    def __init__(self, problem: Compact, most: int | None = None) -> None:
        """Build the network."""
        self.problem = problem
        self.network = TwoNodeCut(problem)
        self.moments = moments(problem)
        n = problem.n
        self._most = most if most is not None else (48 if n <= 1500 else 16 if n <= 30_000 else 4)

    def need(self, task: int) -> NDArray[np.bool_]:
        """Return, per value, whether a task after `task` reads one made before it."""
        problem = self.problem
        later = (self.moments.last_read > task) | problem.must_live
        return later & (problem.value_task < task)

    def weight(self, task: int) -> NDArray[np.float64]:
        """Return the bytes of each value, 0 for those that `task` reads."""
        problem = self.problem
        weight = problem.value_bytes.astype(np.float64)
        weight[problem.reads[problem.read_start[task] : problem.read_start[task + 1]]] = 0.0
        return weight

    def room(self, task: int, budget: int) -> float:
        """Return the bytes left for other values while `task` runs."""
        return float(budget - int(self.moments.own[task]) - int(self.moments.inputs[task]))

    def stages(self, budget: int) -> list[int]:
        """Choose the stages: the heaviest by baseline, by working set, and spread between."""
        moment = self.moments
        over = np.flatnonzero(moment.baseline > budget)
        if not len(over):
            return []
        working = moment.own + moment.inputs
        most = self._most
        chosen = [int(over[np.argmax(moment.baseline[over])])]
        heavy = over[np.argsort(-working[over], kind="stable")]
        chosen += [int(t) for t in heavy[: most // 2]]
        spread = over[np.linspace(0, len(over) - 1, max(1, most // 2)).astype(np.int64)]
        chosen += [int(t) for t in spread]
        return list(dict.fromkeys(chosen))

    def bound(self, budget: int, polish: int = 3) -> CutBound:
        """Return the best bound over the chosen stages.

        Args:
            budget: Bytes.
            polish: Stages at which the price is optimised; the others are screened at one price.
        """
        chosen = self.stages(budget)
        if not chosen:
            return CutBound(0.0, -1, 0.0)
        best = CutBound(0.0, -1, 0.0)
        first = chosen[0]
        value, price = best_price(
            self.network, self.need(first), self.weight(first), self.room(first, budget), 0.0
        )
        if value > best.seconds:
            best = CutBound(value, first, price)
        if price <= 0 or len(chosen) == 1:
            return best
        screened: list[tuple[float, int]] = []
        for task in chosen[1:]:
            cut = self.network.solve(self.need(task), self.weight(task), price)
            screened.append((cut.value - price * self.room(task, budget), task))
        screened.sort(key=lambda pair: (-pair[0], pair[1]))
        for _, task in screened[:polish]:
            value, at = best_price(
                self.network,
                self.need(task),
                self.weight(task),
                self.room(task, budget),
                best.price,
                8,
            )
            if value > best.seconds:
                best = CutBound(value, task, at)
        return best
