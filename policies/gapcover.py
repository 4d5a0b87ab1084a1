"""A lower bound from all stages at once: in which gaps between two reads a value must be let go.

A value is read first at certain stages; between two of them that follow each other lies a gap.  If
a value is not alive at some stage inside a gap, its task runs again before the gap ends, and for
another gap of the same value once more.  At every stage where saving everything takes more than the
budget, values are let go whose bytes make up for what is too much.  So the cheapest choice of gaps
that does so at all stages is a lower bound, however often tasks run.  What it costs to bring back
the inputs of what runs again is left out: it is tight where a few long gaps are enough.

A run brings back all values of its task at once: each of k that can be let go is charged one k-th.
A value that the first task of a gap can overwrite makes room there already, if it is let go.

Source: Bartan et al., "Moccasin" (ICML 2023), for the intervals between reads; the covering program
is ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from policies.milp import Rows
from policies.milp_solver import Program

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.cutbound import Moments
    from policies.milp import Answer

__all__ = ["GapCover"]


class GapCover:
    """The covering program of one graph and budget.

    Args:
        problem: The compact problem, with its budget.
        moments: Of the problem.

    Attributes:
        size: Number of gaps that may help.

    >>> from policies.compact import compact_of
    >>> from policies.cutbound import moments
    >>> from policies.generate import chain
    >>> compact = compact_of(chain(6), 40)
    >>> cover = GapCover(compact, moments(compact))
    >>> cover.size, round(cover.seconds(cover.program(None, None).minimise()), 3)
    (4, 2.0)
    """

    def __init__(self, problem: Compact, moments: Moments) -> None:
        """Find the gaps in which some stage is over budget."""
        total = float(problem.seconds.sum())
        self._unit = total / 1e4 if total > 0 else 1.0
        self._over = np.flatnonzero(moments.baseline > problem.budget)
        self._excess = (moments.baseline - problem.budget)[self._over].astype(np.float64)
        value, first, last = _gaps(problem)
        low = np.searchsorted(self._over, first, side="right")
        high = np.searchsorted(self._over, last, side="left")
        task = problem.value_task[value]
        row = low - 1  # of the stage where the gap begins, if that is over budget
        begins = (low > 0) & (self._over[row] == first) if len(self._over) else low < 0
        taken = np.where(
            begins & (problem.overwrite_value[first] == value), problem.overwrite[first], 0
        )
        helps = (low < high) | (taken > 0)
        able = problem.rerun[task] & (problem.value_bytes[value] > 0) & helps
        self._value, self._low, self._high = value[able], low[able], high[able]
        self._row, self._taken = row[able], taken[able].astype(np.float64)
        self._bytes = problem.value_bytes[self._value].astype(np.float64)
        task = task[able]
        several = np.bincount(task[np.unique(self._value, return_index=True)[1]], minlength=1)
        self._cost = problem.seconds[task] / np.maximum(1, several[task]) / self._unit
        self.size = len(self._value)

    def program(self, seconds: float | None, nodes: int | None, *, whole: bool = True) -> Program:
        """Return the program for a solver.

        Args:
            seconds: Time limit, or None.
            nodes: Limit on branch-and-bound nodes, or None; deterministic.
            whole: Whether to ask for integers.
        """
        rows = Rows()
        for row, excess in enumerate(self._excess):
            within = (self._low <= row) & (row < self._high)
            room = np.where(within, self._bytes, np.where(self._row == row, self._taken, 0.0))
            inside = np.flatnonzero(room > 0)
            # more bytes than are needed do not help more than as many
            share = np.minimum(room[inside] / excess, 1.0)
            rows.single(inside, share, 1.0 - 1e-7, math.inf)
        one = np.ones(self.size)
        integral = one > 0 if whole else None
        return Program(self._cost, 0.0 * one, one, rows, integral, seconds, nodes)

    def seconds(self, answer: Answer) -> float:
        """Return the seconds of recomputation that no plan avoids; infinite if none fits."""
        if answer.infeasible:
            return math.inf
        if not math.isfinite(answer.bound):
            return 0.0
        return max(0.0, (answer.bound - 1e-5) * self._unit)


def _gaps(problem: Compact) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return value, and the stages between which each gap lies.

    What must live to the end has a last gap up to behind the last task.
    """
    n = problem.n
    reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(problem.read_start))
    stays = np.flatnonzero(problem.must_live)
    value = np.concatenate([np.arange(len(problem.value_bytes)), problem.reads, stays])
    stage = np.concatenate([problem.value_task, reader, np.full(len(stays), n)])
    order = np.lexsort((stage, value))
    value, stage = value[order], stage[order]
    same = value[1:] == value[:-1]
    return value[1:][same], stage[:-1][same], stage[1:][same]
