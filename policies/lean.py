# ruff: noqa: PLR0917 (arrays, for the inner loops)
"""What to run again so that little is alive, were reads across the split free.

A nested plan decides about values that are read across the split.  The others have a memory of
their own: on the way there, what the way there still needs; on the way back, contributions made
long before they are summed.  Where these alone take more than a target, a minimum cut says what to
drop there and run again at its next read, at the lowest price of memory that is enough; this is
repeated from the heaviest moment to the next until all fit.

`unrolled` turns a problem with such recomputations into one in which every run is a task.

Source: the cut is that of `mincut`; its use here is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from policies.cutbound import CutBounder
from policies.evaluate import memory_profile
from policies.lifetimes import to_sequence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact

__all__ = ["lean_pairs", "unrolled"]

PRICES = tuple(0.1 * 2.0**k for k in range(14))
"""Prices of memory that are tried, in seconds of everything over bytes of everything."""


@njit(cache=True)
def _lazily(
    read_start: Any, reads: Any, value_task: Any, stages: Any, again: Any, pairs: Any
) -> int:
    """Drop what `again[k]` says at `stages[k]`, run it when it is next read; count the pairs."""
    n = len(read_start) - 1
    gone = np.zeros(n, np.bool_)
    stack = np.empty(n + 1, np.int64)
    total = k = 0
    for s in range(stages[0] if len(stages) else n, n):
        top = 0
        stack[0] = s
        while top >= 0:
            t = stack[top]
            top -= 1
            for i in range(read_start[t], read_start[t + 1]):
                u = value_task[reads[i]]
                if gone[u]:
                    if total >= len(pairs):
                        return -1
                    gone[u] = False
                    pairs[total, 0], pairs[total, 1] = s, u
                    total += 1
                    top += 1
                    stack[top] = u
        if k < len(stages) and stages[k] == s:
            for t in range(s):
                gone[t] = gone[t] or again[k, t]
            k += 1
    return total


def lean_pairs(compact: Compact, split: int, target_bytes: int, tries: int) -> NDArray[np.int64]:
    """Choose recomputations that bring what is not read across the split below a target.

    Args:
        compact: the problem, with a fixed order.
        split: values made before it and read after it take no memory between the two.
        target_bytes: what is to be alive at most.
        tries: at most this many minimum cuts.

    Returns:
        Rows (stage, task), as far as the tries went.

    >>> import numpy as np
    >>> from policies.compact import compact_of
    >>> from policies.generate import layered
    >>> lean_pairs(compact_of(layered(8, 3, 1), 0), 25, 860, 20).tolist()
    [[38, 36], [40, 37]]
    """
    apart = _apart(compact, split)
    bounder = CutBounder(apart)
    rows = np.zeros((8 * compact.n, 2), np.int64)
    best, lowest = rows[:0], int(bounder.moments.baseline.max(initial=0))
    cuts: dict[int, tuple[int, NDArray[np.bool_]]] = {}
    spent = 0
    pairs = best
    stuck: set[int] = set()
    while spent < tries:
        peaks = _stage_peaks(apart, pairs)
        peaks[list(stuck)] = 0
        worst = int(np.argmax(peaks))
        if peaks[worst] <= target_bytes:
            break
        level = cuts[worst][0] + 1 if worst in cuts else 0
        room = bounder.room(worst, target_bytes)
        found = None
        while level < len(PRICES) and spent < tries:
            price = bounder.network.natural_price() * PRICES[level]
            cut = bounder.network.solve(bounder.need(worst), bounder.weight(worst), price)
            spent += 1
            if not cut.infeasible:
                found = cut.again
                if cut.held_bytes <= room:
                    break
            level += 1
        if found is None:
            stuck.add(worst)
            continue
        cuts[worst] = (min(level, len(PRICES)), found)
        stages = np.array(sorted(cuts), np.int64)
        again = np.array([cuts[s][1] for s in stages.tolist()])
        total = _lazily(apart.read_start, apart.reads, apart.value_task, stages, again, rows)
        if total < 0:
            break
        pairs = np.unique(rows[:total], axis=0)
        top = int(_stage_peaks(apart, pairs).max())
        if top < lowest:
            best, lowest = pairs, top
    return best


def _apart(compact: Compact, split: int) -> Compact:
    """Give the problem without reads across the split, and free to hold everything."""
    reader = np.repeat(np.arange(compact.n, dtype=np.int64), np.diff(compact.read_start))
    stays = (reader < split) | (compact.value_task[compact.reads] >= split)
    start = np.zeros(compact.n + 1, np.int64)
    np.cumsum(np.bincount(reader[stays], minlength=compact.n), out=start[1:])
    return replace(
        compact,
        reads=np.ascontiguousarray(compact.reads[stays]),
        read_start=start,
        hold=np.ones(compact.n, np.bool_),
    )


def _stage_peaks(compact: Compact, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the highest memory within each stage."""
    sequence = to_sequence(compact.n, pairs)
    stage = np.sort(np.concatenate([pairs[:, 0], np.arange(compact.n, dtype=np.int64)]))
    starts = np.searchsorted(stage, np.arange(compact.n))
    return np.maximum.reduceat(memory_profile(compact, sequence), starts)


def unrolled(
    compact: Compact, pairs: NDArray[np.int64]
) -> tuple[Compact, NDArray[np.int64], NDArray[np.int64]]:
    """Give the problem whose tasks are the runs of a plan, each of which makes values of its own.

    Args:
        compact: the problem, with a fixed order.
        pairs: rows (stage, task).

    Returns:
        The problem, and the stage and the task of each run.

    >>> import numpy as np
    >>> from policies.compact import compact_of
    >>> from policies.generate import chain
    >>> runs, stage, task = unrolled(compact_of(chain(2), 0), np.array([[3, 0]]))
    >>> stage.tolist(), task.tolist(), runs.reads.tolist()
    ([0, 1, 2, 3, 3], [0, 1, 2, 0, 3], [0, 0, 1, 3, 2])
    """
    task = to_sequence(compact.n, pairs)
    stage = np.sort(np.concatenate([pairs[:, 0], np.arange(compact.n, dtype=np.int64)]))
    made = np.diff(compact.made_start)[task]
    made_start = np.concatenate([[0], np.cumsum(made)])
    old = np.concatenate(
        [
            np.arange(a, b)
            for a, b in zip(compact.made_start[task], compact.made_start[task + 1], strict=True)
        ]
    ).astype(np.int64)
    read = np.diff(compact.read_start)[task]
    read_start = np.concatenate([[0], np.cumsum(read)])
    reads = np.empty(int(read_start[-1]), np.int64)
    overwrite_value = compact.overwrite_value[task].copy()
    newest = np.full(len(compact.value_bytes), -1, np.int64)
    last = _rename(
        task, compact.made_start, compact.read_start, compact.reads, made_start, read_start, newest,
        reads, overwrite_value,
    )  # fmt: skip
    must_live = np.zeros(len(old), np.bool_)
    must_live[last[compact.must_live]] = True
    runs = replace(
        compact,
        n=len(task),
        seconds=compact.seconds[task],
        workspace=compact.workspace[task],
        known=compact.known[task],
        rerun=compact.rerun[task],
        hold=compact.hold[task],
        made_start=made_start,
        value_bytes=compact.value_bytes[old],
        value_task=np.repeat(np.arange(len(task), dtype=np.int64), made),
        must_live=must_live,
        read_start=read_start,
        reads=reads,
        overwrite=compact.overwrite[task],
        overwrite_value=overwrite_value,
        tasks=(),
    )
    return runs, stage, task


@njit(cache=True)
def _rename(
    task: Any,
    made_start: Any,
    read_start: Any,
    old_reads: Any,
    new_made: Any,
    new_read: Any,
    newest: Any,
    reads: Any,
    overwrite_value: Any,
) -> Any:
    """Fill `reads` with the newest instance of each value read; return the last of each value."""
    for p in range(len(task)):
        t = task[p]
        for i in range(read_start[t], read_start[t + 1]):
            reads[new_read[p] + i - read_start[t]] = newest[old_reads[i]]
        if overwrite_value[p] >= 0:
            overwrite_value[p] = newest[overwrite_value[p]]
        for v in range(made_start[t], made_start[t + 1]):
            newest[v] = new_made[p] + v - made_start[t]
    return newest
