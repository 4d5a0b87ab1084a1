"""Large-neighbourhood search: one stretch of a plan at a time is chosen anew by a stage program.

What is alive where the stretch begins and where it ends stays as it is, and so does everything that
runs again outside; inside, the program of `stagemodel` says what is held and what runs again, with
memory counted at the stages that are nearest to the budget.  Its plan is laid into the old one; the
moves of `recompute_sets` put right what the program did not count.

Source: Paul Shaw, "Using Constraint Programming and Local Search Methods to Solve Vehicle Routing
Problems" (CP 1998), for large neighbourhoods; which stretch, and how it is closed off, is ours.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from policies.lifetimes import MAKER, end_of, find, pairs_of
from policies.milp_solver import Program
from policies.stagemodel import Borders, StageModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.cutbound import Moments
    from policies.recompute_sets import SetSearch

__all__ = ["Windows", "alive_at"]

MOST_STAGES = 14
"""Stages of a stretch at which memory is counted."""

MOST_TASKS = 1_500
"""Tasks of a graph whose stretches, even short ones, make programs that are not too large."""

MOST_COLUMNS = 6_000
"""Variables of a program that is worth solving."""


@njit(cache=True)
def _alive(  # noqa: PLR0917 (arrays, for the inner loop)
    ev: Any, vl: Any, rd: Any, n: int, stage: int, alive: Any
) -> None:
    """Mark the values made before a stage that are alive when it first runs."""
    for value in range(len(alive)):
        if vl[value, MAKER] < stage:
            event = find(ev, vl[value, MAKER], stage)
            s_end, t_end = end_of(ev, vl, rd, n, value, event)
            alive[value] = s_end > stage or (s_end == stage and t_end >= stage)


def alive_at(search: SetSearch, stage: int) -> NDArray[np.bool_]:
    """Return bool[values], which values made before are alive when a stage first runs.

    >>> from policies.compact import compact_of
    >>> from policies.cutbound import moments
    >>> from policies.generate import chain
    >>> from policies.recompute_sets import SetSearch
    >>> compact = compact_of(chain(3), 10**6)
    >>> search = SetSearch(compact, moments(compact).baseline, 0, 1.0)
    >>> alive_at(search, 3).tolist()
    [True, True, True, False, False, False]
    """
    plan, problem = search.plan, search.problem
    alive = np.zeros(len(problem.value_bytes), np.bool_)
    _alive(plan.ev, plan.vl, plan.rd, problem.n, stage, alive)
    return alive


class Windows:
    """Chooses stretches of the plan of a search, and plans them anew.

    Args:
        search: Whose plan is improved.
        moments: Of the problem.
        seed: Of the choice of stretches.

    Attributes:
        finished: Whether there is nothing to gain here any more.
    """

    def __init__(self, search: SetSearch, moments: Moments, seed: int) -> None:
        """Start with stretches of moderate length."""
        self._search = search
        self._problem: Compact = search.problem
        self._moments = moments
        self._random = random.Random(seed)  # noqa: S311 (not for secrets)
        total = float(self._problem.seconds.sum())
        self._unit = total / 1e4 if total > 0 else 1.0
        self._width = max(8, self._problem.n // 12)
        self.finished = self._problem.n > MOST_TASKS

    def improve(self, seconds: float) -> bool:
        """Plan one stretch anew; tell whether the best plan of the search got better.

        The search must stand at its best plan, and does so again afterwards.

        Args:
            seconds: Time limit of the program.
        """
        search, n = self._search, self._problem.n
        pairs = pairs_of(search.plan)
        if not len(pairs):
            return False
        stages = self._stretch(pairs)
        if len(stages) < 3:
            return False
        first, last = stages[0], stages[-1]
        borders = Borders(alive_at(search, first), alive_at(search, last))
        model = StageModel(
            self._problem, self._moments, stages, self._unit, transit=True, borders=borders
        )
        if model.columns > MOST_COLUMNS:
            self._width = max(8, self._width * 2 // 3)
            return False
        program = Program(model.cost, model.lower, model.upper, model.rows, model.integral, seconds)
        found = program.minimise()
        if found.x is None:
            return False
        if found.optimal and found.solve_seconds < 0.2:
            self._width = min(n, self._width * 5 // 4 + 1)
        elif not found.optimal:
            self._width = max(8, self._width * 3 // 4)
        outside = (pairs[:, 0] <= first) | (pairs[:, 0] > last)
        inside = model.expand(found.x)
        before = search.best_seconds
        search.start(np.concatenate([pairs[outside], inside]))
        if search.plan.excess:
            search.run(200 + n, 0.03, 0.004)
        search.fill()
        search.start(search.best_pairs())
        return search.best_seconds < before * (1 - 1e-9)

    def _stretch(self, pairs: NDArray[np.int64]) -> list[int]:
        """Choose a stretch where much runs again, and its stages nearest to the budget."""
        n, peak = self._problem.n, self._search.plan.peak
        cost = self._problem.seconds[pairs[:, 1]]
        centre = int(self._random.choices(pairs[:, 0].tolist(), (cost + 1e-12).tolist())[0])
        shift = self._random.randint(0, self._width)
        first = max(0, centre - shift)
        last = min(n - 1, first + self._width)
        between = np.arange(first + 1, last)
        nearest = between[np.argsort(-peak[between], kind="stable")]
        apart = max(1, self._width // (3 * MOST_STAGES))
        chosen = [first, last]
        for stage in nearest.tolist():
            if len(chosen) >= MOST_STAGES:
                break
            if all(abs(stage - other) >= apart for other in chosen):
                chosen.append(stage)
        return sorted(chosen)
