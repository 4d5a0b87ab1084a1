"""Blocks: where a network is narrow, and which parts of it repeat.

The tasks that run before a split (the first unknown task or, without any, the highest memory) are
cut into segments of about equal mass, the mass of a task being the bytes that later tasks read, at
places where few bytes cross.  Parts that repeat are found by the signature of their tasks; inside
them segments begin at the same place of every repetition, so that they are equal.

Source: segments between places where little crosses: Chen et al., "Training Deep Nets with
Sublinear Memory Cost" (2016); equal blocks solved once: Zhao, Le Hellard, Eyraud-Dubois, Gusak and
Beaumont, "Rockmate: an Efficient, Fast, Automatic and Generic Tool for Re-materialization in
PyTorch" (ICML 2023).  How blocks are found is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact

__all__ = ["Repeat", "boundaries", "crossing_bytes", "repeats", "signatures", "stir"]

PERIODS = 12
"""So many distances between equal tasks are tried as periods."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part that repeats.

    Attributes:
        start: first task.
        period: tasks of one block.
        count: whole blocks.
    """

    start: int
    period: int
    count: int


@njit(cache=True)
def stir(state: Any, word: Any) -> Any:
    """Stir one word into a hash."""
    state = (state ^ word) * np.uint64(0x9E3779B97F4A7C15)
    return state ^ (state >> np.uint64(29))


@njit(cache=True)
def _signatures(  # noqa: PLR0917 (arrays, for the inner loop)
    seconds: NDArray[np.int64],
    workspace: NDArray[np.int64],
    flags: NDArray[np.int64],
    made_start: NDArray[np.int64],
    value_bytes: NDArray[np.int64],
    value_task: NDArray[np.int64],
    read_start: NDArray[np.int64],
    reads: NDArray[np.int64],
    stop: int,
) -> NDArray[np.uint64]:
    answer = np.zeros(stop, np.uint64)
    for t in range(stop):
        state = stir(np.uint64(seconds[t]), np.uint64(workspace[t]))
        state = stir(state, np.uint64(flags[t]))
        for v in range(made_start[t], made_start[t + 1]):
            state = stir(state, np.uint64(value_bytes[v] + 1))
        for i in range(read_start[t], read_start[t + 1]):
            source = value_task[reads[i]]
            state = stir(state, np.uint64(t - source))
            state = stir(state, np.uint64(reads[i] - made_start[source]))
        answer[t] = state
    return answer


def signatures(compact: Compact, split: int) -> NDArray[np.uint64]:
    """Give u64[split], equal for tasks alike: seconds, bytes, and what they read how far back.

    >>> from policies.compact import compact_of
    >>> from policies.generate import chain
    >>> len(set(signatures(compact_of(chain(6), 0), 6).tolist()))  # the first reads nothing
    2
    """
    flags = compact.rerun.astype(np.int64) + 2 * compact.hold.astype(np.int64)
    return _signatures(
        compact.seconds.view(np.int64),
        compact.workspace,
        flags,
        compact.made_start,
        compact.value_bytes,
        compact.value_task,
        compact.read_start,
        compact.reads,
        split,
    )


def repeats(compact: Compact, split: int) -> list[Repeat]:
    """Find parts that repeat at least twice, none within another, from the first to the last.

    Complexity:
        O(tasks log tasks + reads).

    >>> from policies.compact import compact_of
    >>> from policies.generate import chain
    >>> repeats(compact_of(chain(6), 0), 6)
    [Repeat(start=1, period=1, count=5)]
    """
    names = signatures(compact, split)
    order = np.argsort(names, kind="stable")
    gaps = np.diff(order)[names[order][1:] == names[order][:-1]]
    periods, often = np.unique(gaps, return_counts=True)
    tried = np.sort(periods[np.argsort(-often * periods, kind="stable")[:PERIODS]])
    found: list[tuple[int, int, int]] = []
    for period in tried.tolist():
        same = np.concatenate([[False], names[period:] == names[:-period], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1])
        found += [
            (-(stop - start) // period, period, start)
            for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
            if stop - start >= period
        ]
    taken = np.zeros(split, np.bool_)
    chosen: list[Repeat] = []
    # what covers most first; of equals, the shortest period
    for _, period, start in sorted(found, key=lambda one: (one[0] * one[1], one[1], one[2])):
        stop = start
        while stop + period <= split and (
            stop == start
            or bool((names[stop : stop + period] == names[start : start + period]).all())
        ):
            stop += period
        if not taken[start:stop].any() and stop - start >= 2 * period:
            taken[start:stop] = True
            chosen.append(Repeat(start, period, (stop - start) // period))
    return sorted(chosen, key=lambda one: one.start)


def crossing_bytes(compact: Compact, split: int) -> NDArray[np.int64]:
    """Give i64[split + 1], bytes made before each place that a task from there to split reads.

    >>> from policies.compact import compact_of
    >>> from policies.generate import chain
    >>> crossing_bytes(compact_of(chain(3), 0), 3).tolist()
    [0, 8, 8, 0]
    """
    reader = np.repeat(np.arange(compact.n, dtype=np.int64), np.diff(compact.read_start))
    early = reader < split
    last = compact.value_task.copy()
    np.maximum.at(last, compact.reads[early], reader[early])
    before = compact.value_task < split
    change = np.zeros(split + 2, np.int64)
    np.add.at(change, compact.value_task[before] + 1, compact.value_bytes[before])
    np.add.at(change, last[before] + 1, -compact.value_bytes[before])
    return np.cumsum(change)[: split + 1]


def boundaries(compact: Compact, split: int, count: int) -> NDArray[np.int64]:
    """Cut the tasks before ``split`` into at most ``count`` segments.

    Returns:
        Ascending places, 0 first and ``split`` last; segment ``i`` is from place ``i`` to before
        place ``i + 1``.

    Complexity:
        O(tasks log tasks + reads).

    >>> from policies.compact import compact_of
    >>> from policies.generate import chain
    >>> boundaries(compact_of(chain(6), 0), 6, 3).tolist()
    [0, 2, 4, 6]
    """
    if split <= count:
        return np.arange(split + 1, dtype=np.int64)
    crossing = crossing_bytes(compact, split)
    reader = np.repeat(np.arange(compact.n, dtype=np.int64), np.diff(compact.read_start))
    late = np.zeros(len(compact.value_bytes), np.bool_)
    late[compact.reads[reader >= split]] = True
    late &= compact.value_task < split
    mass = np.full(split, 1e-9)
    np.add.at(mass, compact.value_task[late], compact.value_bytes[late])
    total = np.concatenate([[0.0], np.cumsum(mass)])
    able = np.ones(split + 1, np.bool_)
    for part in repeats(compact, split):
        stop = part.start + part.period * part.count
        weight = (total[stop] - total[part.start]) / part.count
        if part.period > 1 and part.count > 2 and weight < 1.5 * total[-1] / count:
            phases = crossing[part.start : stop].reshape(part.count, part.period).max(axis=0)
            places = np.arange(part.start, stop)
            able[places] = (places - part.start) % part.period == int(np.argmin(phases))
    places = np.flatnonzero(able)
    width = 0.5 * total[-1] / count
    chosen = {0, split}
    for i in range(1, count):
        goal = total[-1] * i / count
        low = int(np.searchsorted(total[places], goal - width))
        high = max(low + 1, int(np.searchsorted(total[places], goal + width)))
        near = places[low:high]
        if len(near):
            away = np.abs(total[near] - goal)
            chosen.add(int(near[np.lexsort((away, crossing[near]))[0]]))
    return np.array(sorted(chosen), np.int64)
