# ruff: noqa: PLR0917 (arrays, for the inner loops)
"""Options of segments: what to keep of a segment until its group comes, what to run again then.

Minimum cuts at several prices of memory say what runs again if everything that crosses between
segments is held; each segment takes from each cut its own part.  For the program over segments,
an option is bytes kept, seconds, and most bytes alive on the way there and on the way back.

Source: several options per block: Zhao, Le Hellard, Eyraud-Dubois, Gusak and Beaumont, "Rockmate:
an Efficient, Fast, Automatic and Generic Tool for Re-materialization in PyTorch" (ICML 2023).
Options from one cut for all segments are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from policies.crossing import Crossing, share, steps, way

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.mincut import TwoNodeCut

__all__ = ["end_of_group", "kept_by", "options", "price_options", "run_of"]


def options(
    compact: Compact, network: TwoNodeCut, cross: Crossing, prices: int
) -> NDArray[np.bool_]:
    """Choose options by minimum cuts.

    Args:
        compact: the problem.
        network: of the same problem.
        cross: what crosses between its segments.
        prices: so many prices of memory are tried.

    Returns:
        bool[options, F], what runs again on the way back; the first runs nothing again.

    >>> from policies.blocks import boundaries
    >>> from policies.compact import compact_of
    >>> from policies.crossing import crossing
    >>> from policies.generate import chain
    >>> from policies.mincut import TwoNodeCut
    >>> compact = compact_of(chain(6), 0)
    >>> cross = crossing(compact, 6, boundaries(compact, 6, 2))
    >>> options(compact, TwoNodeCut(compact), cross, 4).astype(int).tolist()
    [[0, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 1]]
    """
    split = len(cross.segment)
    reader = np.repeat(np.arange(compact.n, dtype=np.int64), np.diff(compact.read_start))
    need = np.zeros(len(compact.value_bytes), np.bool_)
    need[compact.reads[reader >= split]] = True
    need &= compact.value_task < split
    forced = cross.pinned.copy()
    forced[cross.cross_value] = True
    weight = compact.value_bytes.astype(np.float64)
    found = [np.zeros(split, np.bool_)]
    for factor in np.geomspace(0.05, 50.0, prices):
        cut = network.solve(need, weight, float(network.natural_price() * factor), forced)
        if not cut.infeasible:
            found.append(cut.again[:split])
    return np.unique(np.array(found), axis=0)


# fmt: off


@njit(cache=True)
def end_of_group(first: Any, n: int, k: int) -> int:
    """Return the end of group `k`."""
    return first[k - 1] if k > 0 else n


@njit(cache=True)
def run_of(k: int, again: Any, bounds: Any, first: Any, segment: Any, value_task: Any,
           read_start: Any, reads: Any, split: int, done: Any, fresh: Any, events: Any,
           stack: Any) -> int:
    """List what runs while group `k` comes back, option `again`, and clear `done` after."""
    n = len(read_start) - 1
    count = 0
    for s in range(first[k], end_of_group(first, n, k)):
        begin = count
        top = 0
        stack[0] = s
        while top >= 0:
            t = stack[top]
            top -= 1
            for i in range(read_start[t], read_start[t + 1]):
                u = value_task[reads[i]]
                if u < split and segment[u] == k and again[u] and not done[u]:
                    done[u] = fresh[u] = True
                    events[count] = u
                    count += 1
                    top += 1
                    stack[top] = u
        if count > begin + 1:  # in the first order
            count = begin
            for t in range(bounds[k], bounds[k + 1]):
                if fresh[t]:
                    events[count] = t
                    count += 1
        for e in range(begin, count):
            fresh[events[e]] = False
        events[count] = s
        count += 1
    for e in range(count):
        if events[e] < split:
            done[events[e]] = False
    return count


@njit(cache=True)
def kept_by(k: int, count: int, events: Any, again: Any, segment: Any, value_task: Any,
          read_start: Any, reads: Any, split: int, pinned: Any, seen: Any, kept: Any) -> int:
    """List the values that the events of group `k` read and do not make."""
    some = 0
    for e in range(count):
        t = events[e]
        for i in range(read_start[t], read_start[t + 1]):
            v = reads[i]
            u = value_task[v]
            if u >= split or pinned[v] or seen[v] or (segment[u] == k and again[u]):
                continue
            seen[v] = True
            kept[some] = v
            some += 1
    for i in range(some):
        seen[kept[i]] = False
    return some


@njit(cache=True)
def price_options(again: Any, bounds: Any, first: Any, segment: Any, seconds: Any, workspace: Any,
             made_start: Any, size: Any, value_task: Any, read_start: Any, reads: Any,
             pinned: Any, next_start: Any, next_read: Any, idle: Any, late: Any, early: int) -> Any:
    """Price each option of each segment.

    Returns:
        extra[k, o, b], bytes kept beside the crossing set of (k + 1, b); there[k, o, b] and
        back[k, o], most bytes on the way there and back; run[k, o], seconds on the way back;
        forward[k, o, b], seconds on the way there.
    """
    split, n, ways, count = len(segment), len(read_start) - 1, len(again), len(bounds) - 1
    extra = np.zeros((count, ways, count))
    there = np.zeros((count, ways, count))
    back = np.zeros((count, ways))
    run = np.zeros((count, ways))
    forward = np.zeros((count, ways, count))
    done = np.zeros(n + 1, np.bool_)
    fresh = np.zeros(n + 1, np.bool_)
    seen = np.zeros(len(size), np.bool_)
    last = np.full(len(size), -1, np.int64)
    kept = np.zeros(len(size), np.int64)
    events = np.zeros(2 * n + 2, np.int64)
    stack = np.zeros(n + 2, np.int64)
    must = np.zeros(n, np.bool_)
    change = np.zeros(count, np.bool_)
    for k in range(count):
        steps(bounds[k], bounds[k + 1], k, count, made_start, next_start, next_read, change)
        for o in range(ways):
            runs = run_of(k, again[o], bounds, first, segment, value_task, read_start, reads, split,
                           done, fresh, events, stack)
            some = kept_by(k, runs, events, again[o], segment, value_task, read_start, reads, split,
                         pinned, seen, kept)
            live = 0.0
            for i in range(some):
                v = kept[i]
                live += size[v]
                extra[k, o, k] += size[v]
                share(next_start, next_read, v, k + 1, count, size[v], early, extra[k, o])
            for b in range(k + 1, count):
                extra[k, o, b] += extra[k, o, b - 1]
            for e in range(runs):
                t = events[e]
                for i in range(read_start[t], read_start[t + 1]):
                    if value_task[reads[i]] < split:
                        last[reads[i]] = e
            s = first[k]
            most = live + idle[s] if runs > 0 else 0.0
            for e in range(runs):
                t = events[e]
                if t < split:
                    run[k, o] += seconds[t]
                    for v in range(made_start[t], made_start[t + 1]):
                        live += 0 if pinned[v] else size[v]
                    most = max(most, live + workspace[t] + idle[s])
                    for v in range(made_start[t], made_start[t + 1]):
                        if last[v] < e:
                            live -= 0 if pinned[v] else size[v]
                else:
                    most = max(most, live + late[t])
                    s = t + 1
                for i in range(read_start[t], read_start[t + 1]):
                    v = reads[i]
                    if value_task[v] < split and last[v] == e and not pinned[v]:
                        live -= size[v]
            back[k, o] = most
            for e in range(runs):
                t = events[e]
                for i in range(read_start[t], read_start[t + 1]):
                    last[reads[i]] = -1
            # the way there: what crosses and what is kept stays to the end of the segment
            for i in range(some):
                seen[kept[i]] = True
            for b in range(k, count):
                if change[b]:
                    forward[k, o, b], there[k, o, b] = way(
                        bounds[k], bounds[k + 1], k, b, seconds, workspace, made_start, size,
                        value_task, read_start, reads, pinned, next_start, next_read, seen, last,
                        must)
                else:
                    forward[k, o, b] = forward[k, o, b - 1]
                    there[k, o, b] = there[k, o, b - 1]
            for i in range(some):
                seen[kept[i]] = False
    return extra, there, back, run, forward

# fmt: on
