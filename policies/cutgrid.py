"""Plans straight from parametric min cuts, with forced checkpoints where one cut is not enough.

Just above the price that proves the bound, the cut recomputes too much; just below, too little, and
the two are nested.  In between lies a plan that uses the cheaper cut for late tasks (their values
die soon) and the smaller one for early tasks; the border is found by bisection with the referee.
Where even high prices do not fit, because a long stretch runs again at once, values that cross
evenly spaced points are held by force, so that each stretch is short.

Source: evenly spaced checkpoints: Chen et al., "Training Deep Nets with Sublinear Memory Cost"
(2016); cuts as in `mincut`; the interpolation is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from policies.evaluate import simulate
from policies.gaps import expand
from policies.lifetimes import to_sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.cutbound import CutBounder


class CutGrid:
    """Plans from cuts at one stage.

    Args:
        bounder: Its network is used.
        stage: Where the cut is made.
        price: Price of memory that proves the bound there, s/B.
    """

    def __init__(self, bounder: CutBounder, problem: Compact, stage: int, price: float) -> None:
        """Prepare the weights."""
        self._bounder = bounder
        self._problem = problem
        # what may not be held is put right later, by the search
        self._priced = replace(problem, hold=np.ones(problem.n, np.bool_))
        self._stage = stage
        self._price = price if price > 0 else bounder.network.natural_price()
        moments = bounder.moments
        life = (moments.last_read - problem.value_task) / max(1, problem.n)
        self._weight = bounder.weight(stage) * (1.0 + 2e-3 * np.maximum(life, 0.0))
        self._need = bounder.need(stage)

    def plans(self, segments: tuple[int, ...]) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Yield plans as rows (stage, task) with their peak bytes.

        Args:
            segments: Numbers of stretches between forced checkpoints to try; 1 forces none.
        """
        for count in segments:
            forced = self._forced(count) if count > 1 else None
            found = self._interpolate(forced)
            if found is not None:
                yield found

    def _forced(self, count: int) -> NDArray[np.bool_] | None:
        """Return the values that cross `count - 1` points of equal mass before the stage."""
        problem = self._problem
        last = self._bounder.moments.last_read
        stage = self._stage
        reader = np.repeat(np.arange(problem.n, dtype=np.int64), np.diff(problem.read_start))
        early = reader < stage
        last_early = problem.value_task.copy()
        np.maximum.at(last_early, problem.reads[early], reader[early])
        before = problem.value_task < stage
        change = np.zeros(problem.n + 1, np.int64)
        np.add.at(change, problem.value_task[before], problem.value_bytes[before])
        np.add.at(change, last_early[before], -problem.value_bytes[before])
        crossing = np.cumsum(change)[:stage]
        kept = np.zeros(problem.n, np.int64)
        hold = before & (last > stage)
        np.add.at(kept, problem.value_task[hold], problem.value_bytes[hold])
        mass = np.cumsum(kept[:stage])
        if stage < 2 or mass[-1] == 0:
            return None
        forced = np.zeros(len(problem.value_bytes), np.bool_)
        width = max(1, stage // (3 * count))
        for i in range(1, count):
            at = int(np.searchsorted(mass, mass[-1] * i / count))
            low, high = max(0, at - width), min(stage, at + width + 1)
            point = low + int(np.argmin(crossing[low:high]))
            forced |= before & (problem.value_task <= point) & (last_early > point)
        return forced

    def _again(self, price: float, forced: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        cut = self._bounder.network.solve(self._need, self._weight, price, forced)
        return None if cut.infeasible else cut.again

    def _price_of(self, again: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
        pairs = expand(self._problem, [self._stage], again[None])
        return pairs, simulate(self._priced, to_sequence(self._problem.n, pairs)).peak

    def _interpolate(
        self, forced: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], int] | None:
        """Raise the price until the plan fits, then take back as much as fits, late tasks first."""
        problem = self._problem
        less = np.zeros(problem.n, np.bool_)
        best: tuple[NDArray[np.int64], int] | None = None
        more: NDArray[np.bool_] | None = None
        price = self._price * (1.0 - 4e-3)
        down = True
        for step in range(16):
            again = self._again(price, forced)
            if again is None:
                break
            pairs, peak = self._price_of(again)
            if peak <= problem.budget:
                more, best = again, (pairs, peak)
                if not down:
                    break
                price /= 1.008 if step == 0 else 1.2
            else:
                if more is None and (best is None or peak < best[1]):
                    best = (pairs, peak)
                less = again
                if more is not None:
                    break
                down = False
                price *= 1.008 if step == 0 else 1.35
        if more is None or best is None:
            return best
        low, high = 0, problem.n
        late = np.arange(problem.n)
        while high - low > 1 and low < self._stage:
            middle = (low + high) // 2
            pairs, peak = self._price_of(np.where(late >= middle, less, more))
            if peak <= problem.budget:
                high, best = middle, (pairs, peak)
            else:
                low = middle
        return best
