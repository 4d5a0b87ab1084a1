"""Lower bounds from several moments at once: programs over chosen stages.

The variables and rows are those of `stagemodel`.  Solved in integers, the program's dual bound
counts, not its best solution; solved in fractions, it is a bound too, and cheap.  The solution, in
fractions rounded, is expanded into a plan, which need not fit: where it does not is where memory
should be counted next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from policies.lifetimes import lifetimes, replace_all
from policies.milp_solver import Program
from policies.spans import torn
from policies.stagemodel import StageModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.cutbound import Moments
    from policies.milp import Answer

__all__ = ["StageProgram", "StageSolution"]


@dataclass(frozen=True, slots=True)
class StageSolution:
    """What the program gave.

    Attributes:
        seconds: Seconds of recomputation that no plan avoids.
        pairs: Rows (stage, task) of the program's own plan, which need not fit; None if it found
            no solution.
        over: f64[n], bytes by which each stage is over budget in that plan, or would be in any
            plan made from the fractions; negative where there is room.
        infeasible: Whether no plan fits at all.
        exact: Whether `seconds` is the optimum of the program.
        solve_seconds: Wall time that the solver took.
        torn: Spans between stages that the fractions break.
    """

    seconds: float
    pairs: NDArray[np.int64] | None
    over: NDArray[np.float64]
    infeasible: bool
    exact: bool
    solve_seconds: float
    torn: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


class StageProgram:
    """The program of one graph and budget for one choice of stages.

    Args:
        problem: The compact problem, with its budget.
        moments: Of the problem.
        stages: Where memory is enforced, ascending.
        transit: Whether to add the transit rows.
        spans: Pairs of stages whose time between is asked about as a whole.
        whole: Whether to ask for integers.
    """

    def __init__(
        self,
        problem: Compact,
        moments: Moments,
        stages: list[int],
        *,
        transit: bool = False,
        spans: Sequence[tuple[int, int]] = (),
        whole: bool = True,
    ) -> None:
        """Write the program down, in units in which numbers are neither huge nor tiny."""
        self._problem = problem
        self._baseline = moments.baseline
        self._whole = whole
        total = float(problem.seconds.sum())
        self._unit = total / 1e4 if total > 0 else 1.0
        self._model = StageModel(problem, moments, stages, self._unit, transit=transit, spans=spans)

    @property
    def size(self) -> int:
        """Number of variables."""
        return self._model.columns

    def program(self, seconds: float | None, nodes: int | None) -> Program:
        """Return the program for a solver.

        Args:
            seconds: Time limit, or None.
            nodes: Limit on branch-and-bound nodes, or None; deterministic.
        """
        model = self._model
        integral = model.integral if self._whole else None
        return Program(model.cost, model.lower, model.upper, model.rows, integral, seconds, nodes)

    def read(self, answer: Answer, below: float = math.inf) -> StageSolution:
        """Read what a solver found.

        Args:
            answer: To `program`.
            below: Recomputation of a known plan, s: the bound is not pushed beyond it.
        """
        over = np.asarray(self._baseline - self._problem.budget, np.float64)
        # a relaxation that ran out of time proves nothing
        told = answer.optimal or self._whole
        seconds = 0.0
        if told and math.isfinite(answer.bound):
            # less what the solver's tolerances may have added
            seconds = min(below, max(0.0, (answer.bound - 1e-5) * self._unit))
        if answer.infeasible or answer.x is None or not told:
            return StageSolution(
                seconds, None, over, answer.infeasible, False, answer.solve_seconds
            )
        pairs = self._model.expand(answer.x)
        plan = lifetimes(self._problem, self._baseline, len(pairs) + 8)
        replace_all(*plan.arrays, pairs)
        over = np.asarray(plan.peak - self._problem.budget, np.float64)
        if not self._whole:
            over = np.maximum(over, self._model.over(answer.x))
        broken = [] if self._whole else torn(self._model, answer.x)
        return StageSolution(
            seconds, pairs, over, False, answer.optimal, answer.solve_seconds, broken
        )
