# ruff: noqa: PLR0917 (arrays, for the inner loops)
"""What crosses from segment to segment on the way to the split and back.

Tasks before the split are cut into segments.  Tasks after it are dealt to the segments in groups,
the last segment first: group ``k`` is what runs once everything above ``k`` has come back.  To
bring back the groups ``j … b`` without running anything before segment ``j``, one holds the
*crossing set* of ``(j, b)``: values made before ``j`` that a segment or a group from ``j`` to ``b``
reads.  Long skips that only a later segment reads are no part of it.

Source: chains of blocks there and back: Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova,
"Optimal checkpointing for heterogeneous chains" (ACM TOMS, 2024); crossing sets in place of single
values are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact

__all__ = ["Crossing", "crossing"]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Segments, groups, and what crosses; ``L`` segments, split at task ``F``.

    Attributes:
        bounds: i64[L + 1], where segments begin.
        segment: i64[F], of each task before the split.
        group: i64[n - F], of each task after it, never rising.
        first: i64[L + 1], the first task of the groups up to ``b``; n if there is none.
        pinned: bool[V], values alive whatever is decided: their bytes are in `idle` and `late`.
        next_read: i64[rows], segments and groups beyond its own that read a value, ascending.
        next_start: i64[V + 1], CSR of values to `next_read`.
        cross_value: i64[rows], values that cross each boundary.
        cross_start: i64[L + 2], CSR of boundaries to `cross_value`.
        held: f64[L, L], bytes of the crossing set of (j, b).
        left: f64[L, L, L], at (a, j, b) the bytes that bringing back a … j - 1 will need from
            before a, beside what j … b holds of them itself for long.
        idle: f64[n + 1], bytes alive just before each task whatever is decided.
        late: f64[n], bytes alive while each task runs whatever is decided, own outputs and
            workspace included.
        forward: f64[L, L], at (k, b) the seconds to run segment k for what crosses out of it to
            segments and groups up to b.
        transient: f64[L, L], likewise, most bytes alive that it makes.
        early: how careful to be about values that two ranges share.
    """

    bounds: NDArray[np.int64]
    segment: NDArray[np.int64]
    group: NDArray[np.int64]
    first: NDArray[np.int64]
    pinned: NDArray[np.bool_]
    next_read: NDArray[np.int64]
    next_start: NDArray[np.int64]
    cross_value: NDArray[np.int64]
    cross_start: NDArray[np.int64]
    held: NDArray[np.float64]
    left: NDArray[np.float64]
    idle: NDArray[np.float64]
    late: NDArray[np.float64]
    forward: NDArray[np.float64]
    transient: NDArray[np.float64]
    early: int


@njit(cache=True)
def next_of(next_start: Any, next_read: Any, value: int, place: int, none: int) -> int:
    """Return the first segment or group not before `place` that reads `value`, else `none`."""
    for i in range(next_start[value], next_start[value + 1]):
        if next_read[i] >= place:
            return next_read[i]
    return none


@njit(cache=True)
def share(
    next_start: Any,
    next_read: Any,
    value: int,
    place: int,
    count: int,
    size: float,
    early: int,
    change: Any,
) -> None:
    """Take `size` off `change`, differences over b, where the range (place, b) holds `value`.

    It does if it reads the value in its second half, and first in its first part out of `early`
    (0: anywhere): else the value is not needed there most of the time, and whoever holds it besides
    pays for it.
    """
    first = -1
    for i in range(next_start[value], next_start[value + 1]):
        read = next_read[i]
        if read < place:
            continue
        if first < 0:
            first = read
        following = next_read[i + 1] if i + 1 < next_start[value + 1] else count
        start = max(read, place + early * (first - place))
        stop = min(following, 2 * read - place + 1)
        if start < stop:
            change[start] -= size
            if stop < count:
                change[stop] += size


@njit(cache=True)
def _groups(
    split: int, segment: Any, value_task: Any, read_start: Any, reads: Any, last_early: Any
) -> Any:
    """Deal the tasks after the split to segments.

    A task goes as low as its own and all later reads demand, but stays above what it reads as long
    as that crosses on the way there anyway.
    """
    n = len(read_start) - 1
    group = np.zeros(n - split, np.int64)
    top = np.zeros(n - split + 1, np.int64)
    for s in range(n - 1, split - 1, -1):
        top[s - split] = top[s - split + 1]
        for i in range(read_start[s], read_start[s + 1]):
            task = value_task[reads[i]]
            if task < split:
                top[s - split] = max(top[s - split], segment[task])
    now = segment[split - 1] if split > 0 else 0
    for s in range(split, n):
        for i in range(read_start[s], read_start[s + 1]):
            task = value_task[reads[i]]
            if task < split:
                now = min(now, max(segment[task], last_early[reads[i]]))
        now = max(now, top[s - split])
        group[s - split] = now
    return group


@njit(cache=True)
def _tables(
    count: int,
    segment: Any,
    value_task: Any,
    size: Any,
    next_start: Any,
    next_read: Any,
    early: int,
) -> Any:
    """Fill `held`, `left` and the values that cross each boundary."""
    held = np.zeros((count, count))
    left = np.zeros((count, count, count))
    start = np.zeros(count + 2, np.int64)
    for v in range(len(size)):
        if size[v] <= 0 or next_start[v] == next_start[v + 1]:
            continue
        last = next_read[next_start[v + 1] - 1]
        own = segment[value_task[v]]
        for j in range(own + 1, last + 1):
            start[j + 1] += 1
            one = next_of(next_start, next_read, v, j, count)
            held[j, one] += size[v]
            for k in range(one + 1, count):
                left[j, k, k] += size[v]
                share(next_start, next_read, v, k, count, size[v], early, left[j, k])
    for j in range(count + 1):
        start[j + 1] += start[j]
    for j in range(count):
        for b in range(j + 1, count):
            held[j, b] += held[j, b - 1]
        for k in range(j + 1, count):
            for b in range(k + 1, count):
                left[j, k, b] += left[j, k, b - 1]
    values = np.zeros(start[count + 1], np.int64)
    place = start.copy()
    for v in range(len(size)):
        if size[v] <= 0 or next_start[v] == next_start[v + 1]:
            continue
        last = next_read[next_start[v + 1] - 1]
        for j in range(segment[value_task[v]] + 1, last + 1):
            values[place[j]] = v
            place[j] += 1
    return held, left, start, values


@njit(cache=True)
def way(
    low: int,
    high: int,
    k: int,
    b: int,
    seconds: Any,
    workspace: Any,
    made_start: Any,
    value_bytes: Any,
    value_task: Any,
    read_start: Any,
    reads: Any,
    pinned: Any,
    next_start: Any,
    next_read: Any,
    wanted: Any,
    last: Any,
    must: Any,
) -> Any:
    """Run segment `k` for what crosses to segments and groups up to `b` and for what is wanted.

    `last` is -1 before and after.  Returns seconds, and the most bytes alive that it made.
    """
    spent = most = live = 0.0
    for t in range(high - 1, low - 1, -1):
        must[t] = False
        for v in range(made_start[t], made_start[t + 1]):
            if wanted[v] or next_of(next_start, next_read, v, k + 1, b + 1) <= b:
                last[v] = high
            must[t] = must[t] or last[v] >= 0
        if must[t]:
            spent += seconds[t]
            for i in range(read_start[t], read_start[t + 1]):
                v = reads[i]
                if value_task[v] >= low and last[v] < t:
                    last[v] = t
    for t in range(low, high):
        if not must[t]:
            continue
        for v in range(made_start[t], made_start[t + 1]):
            live += 0 if pinned[v] else value_bytes[v]
        most = max(most, live + workspace[t])
        for i in range(read_start[t], read_start[t + 1]):
            v = reads[i]
            if value_task[v] >= low and last[v] == t and not pinned[v]:
                live -= value_bytes[v]
        for v in range(made_start[t], made_start[t + 1]):
            if last[v] < 0 and not pinned[v]:
                live -= value_bytes[v]
    for v in range(made_start[low], made_start[high]):
        last[v] = -1
    return spent, most


@njit(cache=True)
def steps(
    low: int,
    high: int,
    k: int,
    count: int,
    made_start: Any,
    next_start: Any,
    next_read: Any,
    change: Any,
) -> None:
    """Mark each b at which more of segment `k` is read than at b - 1."""
    for b in range(count):
        change[b] = b == k
    for v in range(made_start[low], made_start[high]):
        one = next_of(next_start, next_read, v, k + 1, count)
        if one < count:
            change[one] = True


@njit(cache=True)
def _forward(
    bounds: Any,
    seconds: Any,
    workspace: Any,
    made_start: Any,
    value_bytes: Any,
    value_task: Any,
    read_start: Any,
    reads: Any,
    pinned: Any,
    next_start: Any,
    next_read: Any,
) -> Any:
    """Find what it takes to run each segment for what crosses out of it to others up to b."""
    count = len(bounds) - 1
    spent = np.zeros((count, count))
    most = np.zeros((count, count))
    wanted = np.zeros(len(value_bytes), np.bool_)
    last = np.full(len(value_bytes), -1, np.int64)
    must = np.zeros(len(seconds), np.bool_)
    change = np.zeros(count, np.bool_)
    for k in range(count):
        low, high = bounds[k], bounds[k + 1]
        steps(low, high, k, count, made_start, next_start, next_read, change)
        for b in range(k, count):
            if change[b]:
                spent[k, b], most[k, b] = way(
                    low,
                    high,
                    k,
                    b,
                    seconds,
                    workspace,
                    made_start,
                    value_bytes,
                    value_task,
                    read_start,
                    reads,
                    pinned,
                    next_start,
                    next_read,
                    wanted,
                    last,
                    must,
                )
            else:
                spent[k, b], most[k, b] = spent[k, b - 1], most[k, b - 1]
    return spent, most


def _next_reads(
    compact: Compact, split: int, segment: NDArray[np.int64], place: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the CSR of values to the segments and groups beyond their own that read them."""
    reader = np.repeat(np.arange(compact.n, dtype=np.int64), np.diff(compact.read_start))
    source = compact.value_task[compact.reads]
    beyond = source < split
    beyond[beyond] = place[reader[beyond]] > segment[source[beyond]]
    rows = np.stack([compact.reads[beyond], place[reader[beyond]]], axis=1)
    rows = np.unique(rows, axis=0) if len(rows) else np.zeros((0, 2), np.int64)
    start = np.zeros(len(compact.value_bytes) + 1, np.int64)
    np.cumsum(np.bincount(rows[:, 0], minlength=len(compact.value_bytes)), out=start[1:])
    return start, np.ascontiguousarray(rows[:, 1])


def _background(
    compact: Compact, split: int, pinned: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give bytes alive before and at each task whatever is decided."""
    n = compact.n
    reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(compact.read_start))
    last = compact.value_task.copy()
    np.maximum.at(last, compact.reads, reader)
    last[compact.must_live] = n
    there = (compact.value_task >= split) | pinned
    task, size = compact.value_task[there], compact.value_bytes[there].astype(np.float64)
    at, before = np.zeros(n + 2), np.zeros(n + 2)
    np.add.at(at, task, size)
    np.add.at(at, last[there] + 1, -size)
    np.add.at(before, task + 1, size)
    np.add.at(before, last[there] + 1, -size)
    return np.cumsum(before)[: n + 1], np.cumsum(at)[:n] + compact.workspace


def crossing(compact: Compact, split: int, bounds: NDArray[np.int64], early: int = 0) -> Crossing:
    """Work out what crosses.

    Args:
        compact: the problem; every task is taken to run once.
        split: the first task after the way there.
        bounds: of the segments, from 0 to ``split``.
        early: how careful to be about values that two ranges share: 0 (hopeful) or more.

    Complexity:
        O(segments^3 + values * segments^2) at worst, the second part only for values that cross
        many segments.

    >>> import numpy as np
    >>> from policies.compact import compact_of
    >>> from policies.generate import chain
    >>> found = crossing(compact_of(chain(3), 0), 3, np.arange(4))
    >>> found.held.tolist()  # the value below is all that crosses
    [[0.0, 0.0, 0.0], [0.0, 8.0, 8.0], [0.0, 0.0, 8.0]]
    """
    count = len(bounds) - 1
    segment = np.repeat(np.arange(count, dtype=np.int64), np.diff(bounds))
    source = compact.value_task
    pinned = (source < split) & (
        compact.must_live | (compact.value_bytes == 0) | ~compact.rerun[source]
    )
    reader = np.repeat(np.arange(compact.n, dtype=np.int64), np.diff(compact.read_start))
    before = reader < split
    last_early = np.full(len(source), -1, np.int64)
    np.maximum.at(last_early, compact.reads[before], segment[reader[before]])
    group = _groups(split, segment, source, compact.read_start, compact.reads, last_early)
    next_start, next_read = _next_reads(compact, split, segment, np.concatenate([segment, group]))
    size = np.where((source < split) & ~pinned, compact.value_bytes, 0).astype(np.float64)
    held, left, start, values = _tables(count, segment, source, size, next_start, next_read, early)
    idle, late = _background(compact, split, pinned)
    spent, most = _forward(
        bounds, compact.seconds, compact.workspace, compact.made_start, compact.value_bytes,
        source, compact.read_start, compact.reads, pinned, next_start, next_read,
    )  # fmt: skip
    # groups never rise: the first task of a group up to b
    first = np.full(count + 1, compact.n, np.int64)
    first[:count] = split + np.searchsorted(-group, -np.arange(count))
    return Crossing(
        bounds, segment, group, first, pinned, next_read, next_start, values, start, held, left,
        idle, late, spent, most, early,
    )  # fmt: skip
