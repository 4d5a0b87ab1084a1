"""Stage programs with stages chosen one by one: where the program's own plan breaks the budget.

The first stage is that of the best min cut.  Each solution is expanded into a plan; if it fits, it
is optimal; if not, the stage that is most over budget joins the program, and the bound rises.
Stages far from those chosen come first; the dear transit rows join when none is left to add.

Source: lazy rows are cutting planes: Dantzig, Fulkerson and Johnson, "Solution of a Large-Scale
Traveling-Salesman Problem" (Operations Research, 1954); here whole stages are generated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.lifetimes import lifetimes, replace_all
from policies.stages import StageProgram, StageSolution

if TYPE_CHECKING:
    from policies.compact import Compact
    from policies.cutbound import Moments


class StageRounds:
    """A stage program that grows.

    Args:
        problem: The compact problem, with its budget.
        moments: Of the problem.
        first: The first stages.
    """

    def __init__(self, problem: Compact, moments: Moments, first: list[int]) -> None:
        """Start with the given stages."""
        self._problem = problem
        self._baseline = moments.baseline
        self._moments = moments
        self._program = StageProgram(problem, moments, transit=False)
        self._apart = max(2, problem.n // 50)
        self.stages = sorted(first)
        self.finished = False
        self.cut_short = 0

    @property
    def size(self) -> int:
        """Number of tasks times number of stages: what a solution costs grows with it."""
        return self._problem.n * len(self.stages)

    def step(self, seconds: float | None, nodes: int | None, below: float) -> StageSolution:
        """Solve once and add a stage.

        Args:
            seconds: Time limit, or None.
            nodes: Limit on branch-and-bound nodes, or None.
            below: Recomputation of the best plan, s.
        """
        solution = self._program.solve(self.stages, seconds, nodes, below)
        if not solution.exact:
            # too little time: the same stages again with more, but not for ever
            self.cut_short += 1
            self.finished = self.cut_short > 2 or nodes is not None
        if solution.pairs is None or not solution.exact:
            return solution
        plan = lifetimes(self._problem, self._baseline, len(solution.pairs) + 8)
        replace_all(*plan.arrays, solution.pairs)
        over = np.flatnonzero(plan.peak > self._problem.budget)
        away = np.abs(over[:, None] - np.array(self.stages)[None, :])
        away = away.min(axis=1, initial=self._problem.n)
        far = over[away >= self._apart]
        fresh = far if len(far) else over[away > 0]
        if len(fresh):
            worst = int(fresh[np.argmax(plan.peak[fresh])])
            self.stages = sorted([*self.stages, worst])
        elif len(over) and not self._program.transit:
            self._program = StageProgram(self._problem, self._moments, transit=True)
        else:
            self.finished = True
        return solution
