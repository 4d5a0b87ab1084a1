# ruff: noqa: PLR0917 (inner functions take the seven arrays in one order)
"""Memory of a set of recomputations, updated in place as recomputations come and go.

With a fixed order of first executions, a plan is a set of pairs (stage, task): run `task` again
just before stage `stage`, within a stage in first-execution order.  Any such set respects the data;
only lifetimes change.  This module keeps the memory of every stage of such a set and updates it
when one pair is added or removed, in time proportional to the stages between two reads.

The layout, for numba, is seven arrays that every inner function takes in this order:

* `ev` i64[events, 7]: events 0 .. n-1 are the first executions, later ones a pool.  Columns: stage,
  task, next event of the same task, next event in the same stage, slack (memory at the event less
  the stage's peak, never positive), place (row in the list of live recomputations), and that list.
* `tk` i64[n + 1, 8]: per task, first value, first read, value that may be overwritten, bytes that
  this saves, bytes of outputs and workspace, whether it may run again; per stage, its first event;
  per task, the stage at which it must run again (-1 for none).
* `vl` i64[values + 1, 4]: per value, bytes, whether it lives to the end, its task, its first use.
* `rd` i64[reads, 2]: values read by each task; tasks that read each value.
* `peak` i64[n]: highest memory within each stage.
* `num` i64[8]: budget, excess, recomputations, first free event, last stage seen over budget,
  random state, first unknown task.
* `cost` f64[n + 4]: seconds of recomputation, the best seen, a limit at which a move gives up, how
  often everything from the first unknown task on runs, and the seconds of each task.

`excess` is the sum over stages of the bytes over budget; 0 means that the plan fits.

Source: that every set of recomputations is feasible for a fixed order follows the stage
formulation of Jain et al., "Checkmate" (MLSys 2020) and Bartan et al., "Moccasin" (ICML 2023);
the incremental update is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact

STAGE, TASK, AFTER, CHAIN, SLACK, PLACE, LIVE = 0, 1, 2, 3, 4, 5, 6
MADE, READ, OVER, TAKEN, OWN, RERUN, HEAD, LOCK = 0, 1, 2, 3, 4, 5, 6, 7
SIZE, KEEP, MAKER, USE = 0, 1, 2, 3
BUDGET, EXCESS, COUNT, FREE, SEEN, RANDOM, SPLIT = 0, 1, 2, 3, 4, 5, 6
NOW, BEST, LIMIT, CALLS, SECONDS = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The seven arrays of one plan; see the module."""

    ev: NDArray[np.int64]
    tk: NDArray[np.int64]
    vl: NDArray[np.int64]
    rd: NDArray[np.int64]
    peak: NDArray[np.int64]
    num: NDArray[np.int64]
    cost: NDArray[np.float64]

    @property
    def arrays(self) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
        """The arrays in the order in which inner functions take them."""
        return self.ev, self.tk, self.vl, self.rd, self.peak, self.num, self.cost

    @property
    def excess(self) -> int:
        """Bytes over budget, summed over stages."""
        return int(self.num[EXCESS])

    @property
    def seconds(self) -> float:
        """Seconds of recomputation."""
        return float(self.cost[NOW])


def first_unknown(problem: Compact) -> int:
    """Return the first unknown task in the order of first executions, n if there is none."""
    unknown = np.flatnonzero(~problem.known)
    return int(unknown[0]) if len(unknown) else problem.n


def locks(problem: Compact) -> NDArray[np.int64]:
    """Return, per task, the stage before which it must run again: its values may not be held.

    A known task whose values may not be held over the first unknown task runs again at the latest
    before the first unknown task that reads them.
    """
    n = problem.n
    lock = np.full(n + 1, -1, np.int64)
    split = first_unknown(problem)
    if bool(problem.hold.all()) or split >= n:
        return lock
    reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(problem.read_start))
    source = problem.value_task[problem.reads]
    pairs = (source < split) & ~problem.hold[source] & (reader > split) & ~problem.known[reader]
    first = np.full(n + 1, n, np.int64)
    np.minimum.at(first, source[pairs], reader[pairs])
    lock[first < n] = first[first < n]
    return lock


def lifetimes(
    problem: Compact, baseline: NDArray[np.int64], capacity: int, calls: float = 1.0
) -> Lifetimes:
    """Return the state of the plan without recomputation.

    Args:
        problem: The compact problem, with its budget.
        baseline: Bytes alive at each task if nothing is recomputed.
        capacity: At most this many recomputations at a time.
        calls: How often everything from the first unknown task on runs.

    Complexity:
        O(tasks + reads + capacity).
    """
    n = problem.n
    values = len(problem.value_bytes)
    reads = np.asarray(problem.reads, np.int64)
    reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(problem.read_start))
    made = np.zeros(n, np.int64)
    np.add.at(made, problem.value_task, problem.value_bytes)
    tk = np.zeros((n + 1, 8), np.int64)
    tk[:, MADE] = problem.made_start
    tk[:, READ] = problem.read_start
    tk[:n, OVER] = problem.overwrite_value
    tk[:n, TAKEN] = problem.overwrite
    tk[:n, OWN] = made + problem.workspace
    tk[:n, RERUN] = problem.rerun
    tk[:n, HEAD] = np.arange(n)
    tk[:, LOCK] = locks(problem)
    vl = np.zeros((values + 1, 4), np.int64)
    vl[:values, SIZE] = problem.value_bytes
    vl[:values, KEEP] = problem.must_live
    vl[:values, MAKER] = problem.value_task
    np.cumsum(np.bincount(reads, minlength=values)[:values], out=vl[1:, USE])
    rd = np.stack([reads, reader[np.argsort(reads, kind="stable")]], axis=1)
    ev = np.full((n + max(1, capacity), 7), -1, np.int64)
    ev[:n, STAGE] = ev[:n, TASK] = np.arange(n)
    ev[:, SLACK] = 0
    ev[n:, CHAIN] = np.arange(n + 1, len(ev) + 1)
    ev[-1, CHAIN] = -1
    num = np.zeros(8, np.int64)
    num[BUDGET] = problem.budget
    num[EXCESS] = int(np.maximum(baseline - problem.budget, 0).sum())
    num[FREE] = n
    num[RANDOM] = 88172645463325252
    num[SEEN] = int(np.argmax(baseline)) if n else 0
    num[SPLIT] = first_unknown(problem)
    cost = np.concatenate([np.array([0.0, np.inf, np.inf, calls]), problem.seconds])
    peak = np.array(baseline, np.int64)
    return Lifetimes(ev, tk, vl, np.ascontiguousarray(rd), peak, num, cost)


@njit(cache=True)
def find(ev: Any, task: int, stage: int) -> int:
    """Return the last event of `task` at a stage not after `stage` (the first if none)."""
    event = task
    after = ev[event, AFTER]
    while after >= 0 and ev[after, STAGE] <= stage:
        event = after
        after = ev[event, AFTER]
    return event


@njit(cache=True)
def last_use(ev: Any, vl: Any, rd: Any, value: int, before: int) -> tuple[int, int]:
    """Return (stage, task) of the last read of `value` before stage `before`, else (-1, -1)."""
    best_stage, best_task = -1, -1
    for i in range(vl[value, USE], vl[value + 1, USE]):
        reader = rd[i, 1]
        if reader >= before:
            break
        at = reader
        after = ev[reader, AFTER]
        while after >= 0 and ev[after, STAGE] < before:
            at = ev[after, STAGE]
            after = ev[after, AFTER]
        if at >= best_stage:
            best_stage, best_task = at, reader
    return best_stage, best_task


@njit(cache=True)
def end_of(ev: Any, vl: Any, rd: Any, n: int, value: int, event: int) -> tuple[int, int]:
    """Return (stage, task) where the instance of `value` made at `event` is last needed."""
    after = ev[event, AFTER]
    if after < 0 and vl[value, KEEP]:
        return n - 1, n
    stage, task = last_use(ev, vl, rd, value, ev[after, STAGE] if after >= 0 else n)
    if stage < ev[event, STAGE]:
        return ev[event, STAGE], ev[event, TASK]
    return stage, task


@njit(cache=True)
def refresh(ev: Any, tk: Any, peak: Any, num: Any, stage: int) -> None:
    """Make `peak[stage]` the highest memory within the stage again."""
    event = tk[stage, HEAD]
    most = ev[event, SLACK]
    while event != stage:
        event = ev[event, CHAIN]
        most = max(most, ev[event, SLACK])
    if most == 0:
        return
    event = tk[stage, HEAD]
    ev[event, SLACK] -= most
    while event != stage:
        event = ev[event, CHAIN]
        ev[event, SLACK] -= most
    budget = num[BUDGET]
    old = peak[stage]
    new = old + most
    peak[stage] = new
    num[EXCESS] += max(new - budget, 0) - max(old - budget, 0)
    if new > budget and most > 0:
        num[SEEN] = stage


@njit(cache=True)
def shift(
    ev: Any, tk: Any, peak: Any, num: Any, s0: int, t0: int, s1: int, t1: int, amount: int
) -> None:
    """Add `amount` bytes to all events after (s0, t0) up to and with (s1, t1)."""
    if s1 < s0 or (s1 == s0 and t1 <= t0) or amount == 0:
        return
    if t0 < s0 or s0 == s1:
        event = tk[s0, HEAD]
        while True:
            if ev[event, TASK] > t0 and (s0 < s1 or ev[event, TASK] <= t1):
                ev[event, SLACK] += amount
            if event == s0:
                break
            event = ev[event, CHAIN]
        refresh(ev, tk, peak, num, s0)
    if s0 == s1:
        return
    stop = s1
    if t1 >= s1:
        stop = s1 + 1
    else:
        event = tk[s1, HEAD]
        while ev[event, TASK] <= t1:
            ev[event, SLACK] += amount
            event = ev[event, CHAIN]
        refresh(ev, tk, peak, num, s1)
    budget = num[BUDGET]
    excess = 0
    if amount > 0:
        seen = -1
        for s in range(s0 + 1, stop):
            new = peak[s] + amount
            peak[s] = new
            if new > budget:
                excess += min(amount, new - budget)
                seen = s
        if seen >= 0:
            num[SEEN] = seen
    else:
        for s in range(s0 + 1, stop):
            old = peak[s]
            peak[s] = old + amount
            if old > budget:
                excess -= min(-amount, old - budget)
    num[EXCESS] += excess


@njit(cache=True)
def credit(
    ev: Any, tk: Any, peak: Any, num: Any, value: int, stage: int, task: int, sign: int
) -> None:
    """Account for `value` dying (sign 1) or no longer dying (-1) where it may be overwritten."""
    if task < len(peak) and tk[task, OVER] == value:
        event = find(ev, task, stage)
        if ev[event, STAGE] == stage:
            ev[event, SLACK] -= sign * tk[task, TAKEN]
            refresh(ev, tk, peak, num, stage)


@njit(cache=True)
def add(
    ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, stage: int, task: int
) -> int:
    """Run `task` again before `stage`; return its event, or -1 if it already runs there."""
    n = len(peak)
    earlier = find(ev, task, stage)
    event = num[FREE]
    if ev[earlier, STAGE] == stage or event < 0:
        return -1
    num[FREE] = ev[event, CHAIN]
    after = ev[earlier, AFTER]
    ev[event, STAGE] = stage
    ev[event, TASK] = task
    # into the stage: memory between two events is what lives on from one to the next
    before = -1
    right = tk[stage, HEAD]
    while ev[right, TASK] < task:
        before = right
        right = ev[right, CHAIN]
    follower = ev[right, TASK]
    through = ev[right, SLACK] - tk[follower, OWN]
    over = tk[follower, OVER]
    if over >= 0:
        maker = find(ev, vl[over, MAKER], stage)
        s_end, t_end = end_of(ev, vl, rd, n, over, maker)
        if s_end == stage and t_end == follower:
            through += tk[follower, TAKEN]
    ev[event, SLACK] = through + tk[task, OWN]
    ev[event, CHAIN] = right
    if before < 0:
        tk[stage, HEAD] = event
    else:
        ev[before, CHAIN] = event
    if ev[event, SLACK] > 0:
        refresh(ev, tk, peak, num, stage)
    for value in range(tk[task, MADE], tk[task + 1, MADE]):
        s_end, t_end = end_of(ev, vl, rd, n, value, earlier)
        if s_end >= stage:
            s_new, t_new = last_use(ev, vl, rd, value, stage)
            if s_new < ev[earlier, STAGE]:
                s_new, t_new = ev[earlier, STAGE], task
            shift(ev, tk, peak, num, s_new, t_new, stage, task, -vl[value, SIZE])
            credit(ev, tk, peak, num, value, s_new, t_new, 1)
    for i in range(tk[task, READ], tk[task + 1, READ]):
        value = rd[i, 0]
        maker = find(ev, vl[value, MAKER], stage)
        s_end, t_end = end_of(ev, vl, rd, n, value, maker)
        if s_end < stage or (s_end == stage and t_end < task):
            credit(ev, tk, peak, num, value, s_end, t_end, -1)
            shift(ev, tk, peak, num, s_end, t_end, stage, task, vl[value, SIZE])
            if tk[task, OVER] == value:
                ev[event, SLACK] -= tk[task, TAKEN]
                refresh(ev, tk, peak, num, stage)
    ev[event, AFTER] = after
    ev[earlier, AFTER] = event
    ev[num[COUNT], LIVE] = event
    ev[event, PLACE] = num[COUNT]
    num[COUNT] += 1
    cost[NOW] += cost[task + SECONDS] * (cost[CALLS] if stage > num[SPLIT] else 1.0)
    return event


@njit(cache=True)
def remove(ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, event: int) -> None:
    """Take one recomputation out of the plan."""
    n = len(peak)
    stage, task = ev[event, STAGE], ev[event, TASK]
    earlier = task
    while ev[earlier, AFTER] != event:
        earlier = ev[earlier, AFTER]
    ev[earlier, AFTER] = ev[event, AFTER]
    for i in range(tk[task, READ], tk[task + 1, READ]):
        value = rd[i, 0]
        maker = find(ev, vl[value, MAKER], stage)
        s_end, t_end = end_of(ev, vl, rd, n, value, maker)
        if s_end < stage or (s_end == stage and t_end < task):
            shift(ev, tk, peak, num, s_end, t_end, stage, task, -vl[value, SIZE])
            credit(ev, tk, peak, num, value, s_end, t_end, 1)
    for value in range(tk[task, MADE], tk[task + 1, MADE]):
        s_end, t_end = end_of(ev, vl, rd, n, value, earlier)
        if s_end >= stage:
            s_new, t_new = last_use(ev, vl, rd, value, stage)
            if s_new < ev[earlier, STAGE]:
                s_new, t_new = ev[earlier, STAGE], task
            credit(ev, tk, peak, num, value, s_new, t_new, -1)
            shift(ev, tk, peak, num, s_new, t_new, stage, task, vl[value, SIZE])
    if tk[stage, HEAD] == event:
        tk[stage, HEAD] = ev[event, CHAIN]
    else:
        before = tk[stage, HEAD]
        while ev[before, CHAIN] != event:
            before = ev[before, CHAIN]
        ev[before, CHAIN] = ev[event, CHAIN]
    if ev[event, SLACK] == 0:
        refresh(ev, tk, peak, num, stage)
    num[COUNT] -= 1
    hole = ev[event, PLACE]
    last = ev[num[COUNT], LIVE]
    ev[hole, LIVE] = last
    ev[last, PLACE] = hole
    ev[event, STAGE] = -1
    ev[event, AFTER] = -1
    ev[event, CHAIN] = num[FREE]
    num[FREE] = event
    cost[NOW] -= cost[task + SECONDS] * (cost[CALLS] if stage > num[SPLIT] else 1.0)


@njit(cache=True)
def replace_all(
    ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, pairs: Any
) -> None:
    """Make the plan the given rows (stage, task) and nothing else."""
    while num[COUNT] > 0:
        remove(ev, tk, vl, rd, peak, num, cost, ev[num[COUNT] - 1, LIVE])
    cost[NOW] = 0.0
    for i in range(len(pairs)):
        if tk[pairs[i, 1], RERUN]:
            add(ev, tk, vl, rd, peak, num, cost, pairs[i, 0], pairs[i, 1])
    for task in range(len(peak)):
        if tk[task, LOCK] > task:
            add(ev, tk, vl, rd, peak, num, cost, tk[task, LOCK], task)


def pairs_of(plan: Lifetimes) -> NDArray[np.int64]:
    """Return the (stage, task) rows of the plan, in the order in which they run."""
    rows = plan.ev[plan.ev[: int(plan.num[COUNT]), LIVE], : TASK + 1]
    return np.ascontiguousarray(rows[np.lexsort((rows[:, 1], rows[:, 0]))])


def to_sequence(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the plan: tasks in the order in which they run.

    Args:
        n: Number of tasks.
        pairs: Rows (stage, task), in any order.

    >>> to_sequence(3, np.array([[2, 0]]))
    array([0, 1, 0, 2])
    """
    stage = np.concatenate([pairs[:, 0], np.arange(n, dtype=np.int64)])
    task = np.concatenate([pairs[:, 1], np.arange(n, dtype=np.int64)])
    return task[np.lexsort((task, stage))]


def to_pairs(n: int, sequence: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows (stage, task) of a plan whose first executions are 0, 1, ..., n - 1.

    A task that runs several times within one stage is kept once, at most.

    >>> to_pairs(3, np.array([0, 1, 0, 2]))
    array([[2, 0]])
    """
    seen = np.maximum.accumulate(sequence)
    first = np.ones(len(sequence), np.bool_)
    first[1:] = seen[1:] > seen[:-1]
    following = np.where(first, seen, seen + 1)
    again = np.flatnonzero(~first)
    rows = np.stack([np.minimum(following[again], n - 1), sequence[again]], axis=1)
    rows = rows[rows[:, 0] > rows[:, 1]]
    return np.unique(rows, axis=0) if len(rows) else np.zeros((0, 2), np.int64)
