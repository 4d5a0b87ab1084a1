# ruff: noqa: PLR0917 (arrays, for the inner loops)
"""The dynamic program over segments and memory, and the plans that it stands for.

``best[a, b, m]`` is the fewest seconds to bring back the groups ``a … b`` when their crossing set
is held and ``m`` units of memory are left for all of it.  Either segment ``a`` runs on its own,
keeping what one of its options says until its group comes, or the way is run up to a boundary
``j``, whose crossing set is held while ``j … b`` come back, before ``a … j - 1`` follow from the
crossing set of ``a``; a last segment may also run straight before its group.  Ranges of segments
that look alike share one table.

Source: Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova, "Optimal checkpointing for
heterogeneous chains: how to train deep neural networks with limited memory" (ACM TOMS, 2024);
several options per block: Zhao, Le Hellard, Eyraud-Dubois, Gusak and Beaumont, "Rockmate" (ICML
2023).  Crossing sets, memory of the tasks after the split, and equal ranges are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from policies.blocks import stir
from policies.crossing import Crossing, next_of
from policies.segment_options import end_of_group, kept_by, price_options, run_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact

__all__ = ["Nesting"]

WORK = 400e6
"""Steps of the program, times six: units of memory are as fine as this allows."""

MOST = 4000
"""Units, at most, if they are a measure of all sizes."""

# fmt: off


@njit(cache=True)
def _keys(held: Any, left: Any, extra: Any, there: Any, back: Any, run: Any, forward: Any,
          spent: Any, transient: Any, idle: Any) -> Any:
    """Return u64[L, L], equal for ranges whose tables are equal."""
    count = len(held)
    local = np.zeros(count, np.uint64)
    for k in range(count):
        state = np.uint64(k == count - 1)
        for o in range(there.shape[1]):
            state = stir(state, np.uint64(back[k, o]))
            state = stir(state, np.uint64(run[k, o] * 1e12))
        local[k] = state
    keys = np.zeros((count, count), np.uint64)
    for width in range(count):
        for a in range(count - width):
            b = a + width
            state = stir(np.uint64(idle[b]), np.uint64(b == count - 1))
            for i in range(a, b + 1):
                state = stir(state, local[i])
                state = stir(state, np.uint64(held[i, b]))
                state = stir(state, np.uint64(left[a, i, b]))
                state = stir(state, np.uint64(transient[i, b]))
                state = stir(state, np.uint64(spent[i, b] * 1e12))
            for o in range(there.shape[1]):
                state = stir(state, np.uint64(there[a, o, b]))
                state = stir(state, np.uint64(forward[a, o, b] * 1e12))
                state = stir(state, np.uint64(extra[a, o, b]))
            if width > 0:
                state = stir(stir(state, keys[a + 1, b]), keys[a, b - 1])
            keys[a, b] = state
    return keys


@njit(cache=True)
def _program(which: Any, rows: Any, units: int, held: Any, left: Any, extra: Any, there: Any,
             back: Any, run: Any, forward: Any, spent: Any, transient: Any, idle: Any) -> Any:
    """Fill the tables; `rows` are the ranges (a, b) they belong to, short ones first."""
    count, ways = len(held), there.shape[1]
    best = np.full((len(rows), units + 1), np.inf)
    pick = np.full((len(rows), units + 1), -1, np.int16)
    for row in range(len(rows)):
        a, b = rows[row, 0], rows[row, 1]
        mine, choice = best[row], pick[row]
        for o in range(ways):
            least = max(held[a, b] + there[a, o, b] + idle[b], back[a, o])
            spend = forward[a, o, b] + run[a, o]
            if a == b:
                for m in range(least, units + 1):
                    if spend < mine[m]:
                        mine[m] = spend
                        choice[m] = o
                if o == ways - 1 and b < count - 1:
                    for m in range(back[a, o], units + 1):
                        if run[a, o] < mine[m]:
                            mine[m] = run[a, o]
                            choice[m] = ways
                continue
            rest = best[which[a + 1, b]]
            keep = extra[a, o, b]
            for m in range(max(least, keep), units + 1):
                if spend + rest[m - keep] < mine[m]:
                    mine[m] = spend + rest[m - keep]
                    choice[m] = o
        spend = 0.0
        least = 0
        for j in range(a + 1, b + 1):
            spend += spent[j - 1, b]
            beside = left[a, j - 1, b] if j - 1 > a else 0
            least = max(least, held[j - 1, b] + beside + transient[j - 1, b] + idle[b])
            keep = left[a, j, b]
            above, below = best[which[j, b]], best[which[a, j - 1]]
            for m in range(max(least, keep), units + 1):
                if spend + above[m - keep] + below[m] < mine[m]:
                    mine[m] = spend + above[m - keep] + below[m]
                    choice[m] = ways + (j - a)
    return best, pick


@njit(cache=True)
def _least(held: Any, left: Any, extra: Any, there: Any, back: Any, transient: Any,
           idle: Any) -> float:
    """Return the least memory for which the program has a plan."""
    count, ways = len(held), there.shape[1]
    least = np.full((count, count), np.inf)
    for width in range(count):
        for a in range(count - width):
            b = a + width
            best = back[a, ways - 1] if width == 0 and b < count - 1 else np.inf
            for o in range(ways):
                need = max(held[a, b] + there[a, o, b] + idle[b], back[a, o])
                if width > 0:
                    need = max(need, extra[a, o, b] + least[a + 1, b])
                best = min(best, need)
            most = 0.0
            for j in range(a + 1, b + 1):
                beside = left[a, j - 1, b] if j - 1 > a else 0.0
                most = max(most, held[j - 1, b] + beside + transient[j - 1, b] + idle[b])
                best = min(best, max(most, left[a, j, b] + least[j, b], least[a, j - 1]))
            least[a, b] = best
    return least[0, count - 1]


@njit(cache=True)
def _count(cross_start: Any, cross_value: Any, next_start: Any, next_read: Any, holds: Any,
           j: int, b: int, step: int) -> None:
    """Hold the crossing set of (j, b) once more or less."""
    for i in range(cross_start[j], cross_start[j + 1]):
        v = cross_value[i]
        if next_of(next_start, next_read, v, j, b + 1) <= b:
            holds[v] += step


@njit(cache=True)
def _bring(task: int, stage: int, read_start: Any, reads: Any, value_task: Any, split: int,
           holds: Any, made: Any, token: int, stack: Any, pairs: Any, total: int) -> int:
    """Run again, before `stage`, what `task` reads and what is gone, with all that it needs."""
    top = 0
    stack[0] = task
    while top >= 0:
        t = stack[top]
        top -= 1
        for i in range(read_start[t], read_start[t + 1]):
            v = reads[i]
            u = value_task[v]
            if u >= split or holds[v] > 0 or made[u] == token:
                continue
            made[u] = token
            if total >= len(pairs):
                return -1
            pairs[total, 0], pairs[total, 1] = stage, u
            total += 1
            top += 1
            stack[top] = u
    return total


@njit(cache=True)
def _push(todo: Any, top: int, kind: int, a: int, b: int, m: int) -> int:
    """Put one more thing to do on the stack."""
    todo[top + 1, 0], todo[top + 1, 1], todo[top + 1, 2], todo[top + 1, 3] = kind, a, b, m
    return top + 1


@njit(cache=True)
def _emit(units: int, which: Any, pick: Any, left: Any, extra: Any, again: Any, bounds: Any,
          first: Any, segment: Any, pinned: Any, value_task: Any, read_start: Any, reads: Any,
          cross_start: Any, cross_value: Any, next_start: Any, next_read: Any, pairs: Any) -> int:
    """Write out the plan for `units` of memory; return its number of pairs, -1 if too many."""
    split, n, ways, count = len(segment), len(read_start) - 1, len(again), len(which)
    holds = np.zeros(len(value_task), np.int64)
    holds[pinned] = 1
    made = np.full(n + 1, -1, np.int64)
    done = np.zeros(n + 1, np.bool_)
    fresh = np.zeros(n + 1, np.bool_)
    seen = np.zeros(len(value_task), np.bool_)
    kept = np.zeros(len(value_task), np.int64)
    events = np.zeros(2 * n + 2, np.int64)
    stack = np.zeros(n + 2, np.int64)
    todo = np.zeros((4 * count + 8, 4), np.int64)
    top = _push(todo, -1, 0, 0, count - 1, units)
    token = total = 0
    while top >= 0:
        kind, a, b, m = todo[top, 0], todo[top, 1], todo[top, 2], todo[top, 3]
        top -= 1
        token += 1
        if kind == 1:  # group a comes back, option b
            runs = run_of(a, again[b], bounds, first, segment, value_task, read_start, reads, split,
                           done, fresh, events, stack)
            for s in range(first[a], end_of_group(first, n, a)):
                total = _bring(s, s, read_start, reads, value_task, split, holds, made, token,
                               stack, pairs, total)
                if total < 0:
                    return -1
            some = kept_by(a, runs, events, again[b], segment, value_task, read_start, reads, split,
                         pinned, seen, kept)
            for i in range(some):
                holds[kept[i]] -= 1
            continue
        chosen = pick[which[a, b], m]
        if chosen < 0:
            return -2
        stage = first[b]
        some = 0
        j = a + max(1, chosen - ways)
        o = min(chosen, ways - 1)
        if chosen <= ways:
            runs = run_of(a, again[o], bounds, first, segment, value_task, read_start, reads, split,
                           done, fresh, events, stack)
            some = kept_by(a, runs, events, again[o], segment, value_task, read_start, reads, split,
                         pinned, seen, kept)
        if b < count - 1 and stage < n and chosen != ways:
            # everything that is to be held must be there
            if j <= b:
                for i in range(cross_start[j], cross_start[j + 1]):
                    v = cross_value[i]
                    if holds[v] <= 0 and next_of(next_start, next_read, v, j, b + 1) <= b:
                        total = _make(v, stage, read_start, reads, value_task, split, holds, made,
                                      token, stack, pairs, total)
                        if total < 0:
                            return -1
            for i in range(some):
                if holds[kept[i]] <= 0:
                    total = _make(kept[i], stage, read_start, reads, value_task, split, holds,
                                  made, token, stack, pairs, total)
                    if total < 0:
                        return -1
        if chosen > ways:
            _count(cross_start, cross_value, next_start, next_read, holds, a, j - 1, 1)
            _count(cross_start, cross_value, next_start, next_read, holds, j, b, 1)
            _count(cross_start, cross_value, next_start, next_read, holds, a, b, -1)
            top = _push(todo, top, 0, a, j - 1, m)
            top = _push(todo, top, 0, j, b, m - left[a, j, b])
            continue
        for i in range(some):
            holds[kept[i]] += 1
        if a < b:
            _count(cross_start, cross_value, next_start, next_read, holds, a + 1, b, 1)
        _count(cross_start, cross_value, next_start, next_read, holds, a, b, -1)
        top = _push(todo, top, 1, a, o, 0)
        if a < b:
            top = _push(todo, top, 0, a + 1, b, m - extra[a, o, b])
    return total


@njit(cache=True)
def _make(value: int, stage: int, read_start: Any, reads: Any, value_task: Any, split: int,
          holds: Any, made: Any, token: int, stack: Any, pairs: Any, total: int) -> int:
    """Run again, before `stage`, the task of `value` and what it needs."""
    task = value_task[value]
    if made[task] == token:
        return total
    if total >= len(pairs):
        return -1
    made[task] = token
    pairs[total, 0], pairs[total, 1] = stage, task
    return _bring(task, stage, read_start, reads, value_task, split, holds, made, token, stack,
                  pairs, total + 1)

# fmt: on


@dataclass(frozen=True, slots=True)
class _Units:
    """Bytes of the program in units of memory, by name as in `_program`."""

    held: NDArray[np.int64]
    left: NDArray[np.int64]
    extra: NDArray[np.int64]
    there: NDArray[np.int64]
    back: NDArray[np.int64]
    transient: NDArray[np.int64]
    idle: NDArray[np.int64]


class Nesting:
    """The tables of one way to cut a problem into segments, for all budgets up to a ceiling.

    Args:
        compact: the problem; every task is taken to run once.
        cross: what crosses between its segments.
        again: bool[options, F], what each option runs again on the way back; a last option, which
            runs everything again, is added.
        ceiling: most bytes.
    """

    def __init__(
        self,
        compact: Compact,
        cross: Crossing,
        again: NDArray[np.bool_],
        ceiling: float,
    ) -> None:
        """Fill the tables."""
        self._compact, self._cross = compact, cross
        split, count = len(cross.segment), len(cross.bounds) - 1
        self._again = np.concatenate([again, np.ones((1, split), np.bool_)])
        extra, there, back, run, forward = price_options(
            self._again, cross.bounds, cross.first, cross.segment, compact.seconds,
            compact.workspace, compact.made_start, compact.value_bytes, compact.value_task,
            compact.read_start, compact.reads, cross.pinned, cross.next_start, cross.next_read,
            cross.idle, cross.late, cross.early,
        )  # fmt: skip
        idle = cross.idle[cross.first[:count]]
        sizes = (cross.held, cross.left, extra, there, back, cross.transient, idle)
        # where even that is too little, the leanest plan is still of use
        least = _least(cross.held, cross.left, extra, there, back, cross.transient, idle)
        ceiling = max(ceiling, 1.05 * least)
        measure = int(np.gcd.reduce(np.concatenate([np.unique(s) for s in sizes]).astype(np.int64)))
        units = int(np.clip(WORK / count**3, 200, 2000))
        exact = measure > 0 and ceiling / measure <= MOST
        self.unit = float(measure) if exact else max(1.0, ceiling) / units
        self.units = int(ceiling / self.unit)
        whole = _Units(*(np.rint(s / self.unit).astype(np.int64) for s in sizes))
        keys = _keys(
            whole.held, whole.left, whole.extra, whole.there, whole.back, run, forward,
            cross.forward, whole.transient, whole.idle,
        )  # fmt: skip
        a, b = np.triu_indices(count)
        order = np.lexsort((a, b - a))
        ranges = np.stack([a[order], b[order]], axis=1)
        _, at, inverse = np.unique(keys[tuple(ranges.T)], return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(at))
        which = np.zeros((count, count), np.int64)
        which[tuple(ranges.T)] = rank[inverse]
        self.tables = len(at)
        self._which, self._whole = which, whole
        self._best, self._pick = _program(
            which, np.ascontiguousarray(ranges[np.sort(at)]), self.units, whole.held, whole.left,
            whole.extra, whole.there, whole.back, run, forward, cross.forward, whole.transient,
            whole.idle,
        )  # fmt: skip
        self._row = int(which[0, count - 1])

    def least(self) -> int:
        """Return the fewest bytes for which the tables have a plan; beyond the ceiling if none."""
        able = np.flatnonzero(np.isfinite(self._best[self._row]))
        return int(np.ceil((able[0] if len(able) else self.units + 1) * self.unit))

    def seconds(self, size: float) -> float:
        """Return the seconds that the tables expect of the way there and of running again."""
        return float(self._best[self._row, max(0, min(self.units, int(size / self.unit)))])

    def pairs(self, size: float) -> NDArray[np.int64] | None:
        """Write out the plan for so many bytes, as rows (stage, task); None if there is none."""
        units = min(self.units, int(size / self.unit))
        if units < 0 or not np.isfinite(self._best[self._row, units]):
            return None
        compact, cross = self._compact, self._cross
        rows = np.zeros((30 * compact.n + 1000, 2), np.int64)
        total = _emit(
            units, self._which, self._pick, self._whole.left, self._whole.extra, self._again,
            cross.bounds, cross.first, cross.segment, cross.pinned, compact.value_task,
            compact.read_start, compact.reads, cross.cross_start, cross.cross_value,
            cross.next_start, cross.next_read, rows,
        )  # fmt: skip
        return np.unique(rows[:total], axis=0) if total >= 0 else None
