"""From what runs again after a stage to a plan: each task as late as it is needed.

A cut or a stage program says which tasks run again in each interval between chosen stages.  The
plan runs each of them just before the first task of the interval that needs its values, directly or
through another task that runs again, and holds them to their last read in the interval.

Source: running each saved-set choice as late as possible follows Chen et al., "Training Deep Nets
with Sublinear Memory Cost" (2016), where whole segments run again when the first of their values
is needed; the rule per value is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from policies.compact import Compact


@njit(cache=True)
def _expand(
    read_start: NDArray[np.int64],
    reads: NDArray[np.int64],
    value_task: NDArray[np.int64],
    stages: NDArray[np.int64],
    again: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return the rows (stage, task); `again` is consumed."""
    n = len(read_start) - 1
    total = 0
    for k in range(len(stages)):
        for t in range(n):
            total += again[k, t]
    pairs = np.empty((total, 2), np.int64)
    stack = np.empty(n + 1, np.int64)
    count = 0
    for k in range(len(stages)):
        waiting = again[k]
        last = stages[k + 1] if k + 1 < len(stages) else n - 1
        for s in range(stages[k] + 1, last + 1):
            top = 0
            stack[0] = s
            while top >= 0:
                t = stack[top]
                top -= 1
                for i in range(read_start[t], read_start[t + 1]):
                    source = value_task[reads[i]]
                    if waiting[source]:
                        waiting[source] = False
                        pairs[count, 0] = s
                        pairs[count, 1] = source
                        count += 1
                        top += 1
                        stack[top] = source
        if k + 1 < len(stages):
            for t in range(last):
                if waiting[t]:
                    pairs[count, 0] = last
                    pairs[count, 1] = t
                    count += 1
    return pairs[:count]


def expand(problem: Compact, stages: list[int], again: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the plan as rows (stage, task).

    Args:
        problem: The compact problem.
        stages: Ascending; interval k is from `stages[k]` to before `stages[k + 1]`.
        again: Per interval and task, whether it runs again there.

    Complexity:
        O(intervals * tasks + reads).
    """
    pairs = _expand(
        problem.read_start,
        problem.reads,
        problem.value_task,
        np.array(stages, np.int64),
        np.array(again, np.bool_),
    )
    return pairs[pairs[:, 0] > pairs[:, 1]]
