"""Which spans between two stages a stage program solved in fractions breaks.

A span is broken if what must run again within it, asked of the span as a whole, is more than what
the solution runs again in all its intervals.  The least that must is found by going back over the
tasks once: a task runs again as much as in any one interval, as what is read and not alive at the
first stage, and as the tasks that read from it and do not find its values alive there.

Source: finding rows only when they are broken is Dantzig, Fulkerson and Johnson, "Solution of a
Large-Scale Traveling-Salesman Problem" (Operations Research, 1954); the spans are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.stagemodel import StageModel

__all__ = ["torn"]

LEAST = 1e-5
"""A span that lacks less than this part of all seconds is not broken."""


@njit(cache=True)
def _ask_back(read_start: Any, reads: Any, value_task: Any, live: Any, asked: Any) -> None:
    """Raise how much of each task is asked to run again by what is asked of its readers."""
    for t in range(len(asked) - 1, -1, -1):
        if asked[t] > 0:
            for i in range(read_start[t], read_start[t + 1]):
                value = reads[i]
                source = value_task[value]
                asked[source] = max(asked[source], asked[t] - live[value])


def torn(model: StageModel, x: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return spans (first stage, last stage) that a solution breaks: per first stage the worst.

    Args:
        model: The program.
        x: f64[columns], its solution in fractions.

    Complexity:
        O(stages^2 * (tasks + reads)).
    """
    found: list[tuple[int, int]] = []
    x = np.append(x, 0.0)  # where there is no variable, -1, there is nothing
    for j in range(len(model.stages) - 2):
        end = _worst(model, x, j)
        if end > 0:
            found.append((model.stages[j], model.stages[end]))
    return found


def _worst(model: StageModel, x: NDArray[np.float64], j: int) -> int:
    """Return where the span from stage j that lacks most ends, or 0."""
    problem, maker = model.problem, model.problem.value_task
    column = model.again[j] >= 0
    live = np.where(model.live[j] >= 0, x[model.live[j]], 1.0)
    most, least = np.zeros(problem.n), np.zeros(problem.n)
    worst, end = LEAST * float(problem.seconds.sum()), 0
    for k in range(j + 1, len(model.stages)):
        part = np.where(column, x[model.again[k - 1]], 0.0)
        most += part
        np.maximum(least, part, out=least)
        if k == j + 1:  # neighbours have rows of their own
            continue
        asked, read, kept = least.copy(), model.read_within(j, k), model.kept(j, k)
        np.maximum.at(asked, maker[read], 1.0 - live[read])
        np.maximum.at(asked, maker[kept], x[model.live[k][kept]] - live[kept])
        asked[~column] = 0.0
        _ask_back(problem.read_start, problem.reads, maker, live, asked)
        lack = np.maximum(asked - np.minimum(most, 1.0), 0.0)[column]
        seconds = float(lack @ problem.seconds[column])
        if seconds > worst:
            worst, end = seconds, k
    return end
