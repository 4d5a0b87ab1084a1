# ruff: noqa: PLR0917 (inner functions take the seven arrays in one order)
"""Moves of the local search over sets of recomputations, each of which can be taken back.

All functions take the seven arrays of `lifetimes` and `work` i64[rows, 4]: its first three columns
are a journal of what a move did (row 0 holds its length), its last column a stack.
Random numbers come from `num[RANDOM]`, so that a search is a function of its seed.

Source: ours; random numbers are xorshift64* of Sebastiano Vigna, "An experimental exploration of
Marsaglia's xorshift generators, scrambled" (ACM Transactions on Mathematical Software, 2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from policies.lifetimes import (
    AFTER,
    BUDGET,
    COUNT,
    EXCESS,
    KEEP,
    LIMIT,
    LIVE,
    LOCK,
    MADE,
    MAKER,
    NOW,
    RANDOM,
    READ,
    RERUN,
    SEEN,
    SIZE,
    STAGE,
    TASK,
    USE,
    add,
    end_of,
    find,
    last_use,
    remove,
)  # fmt: skip

# fmt: off


@njit(cache=True)
def below(num: Any, stop: int) -> int:
    """Return a random integer from 0 to `stop - 1`."""
    x = np.uint64(num[RANDOM])
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    num[RANDOM] = np.int64(x)
    return int(np.int64((x * np.uint64(2685821657736338717)) >> np.uint64(33)) % stop)


@njit(cache=True)
def chance(num: Any) -> float:
    """Return a random number from 0 to 1."""
    return below(num, 1 << 30) / 1073741824.0


@njit(cache=True)
def insert(
    ev: Any,
    tk: Any,
    vl: Any,
    rd: Any,
    peak: Any,
    num: Any,
    cost: Any,
    work: Any,
    stage: int,
    task: int,
) -> bool:
    """Add a pair and note it in the journal."""
    row = work[0, 0] + 1
    if not tk[task, RERUN] or task >= stage or row >= len(work):
        return False
    if add(ev, tk, vl, rd, peak, num, cost, stage, task) < 0:
        return False
    work[0, 0] = row
    work[row, 0], work[row, 1], work[row, 2] = 1, stage, task
    return True


@njit(cache=True)
def delete(
    ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, work: Any, event: int
) -> bool:
    """Remove a pair and note it in the journal."""
    row = work[0, 0] + 1
    if row >= len(work) or tk[ev[event, TASK], LOCK] == ev[event, STAGE]:
        return False
    work[0, 0] = row
    work[row, 0], work[row, 1], work[row, 2] = 0, ev[event, STAGE], ev[event, TASK]
    remove(ev, tk, vl, rd, peak, num, cost, event)
    return True


@njit(cache=True)
def undo(ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, work: Any) -> None:
    """Take back everything in the journal."""
    for row in range(work[0, 0], 0, -1):
        if work[row, 0] == 1:
            event = find(ev, work[row, 2], work[row, 1])
            remove(ev, tk, vl, rd, peak, num, cost, event)
        else:
            add(ev, tk, vl, rd, peak, num, cost, work[row, 1], work[row, 2])
    work[0, 0] = 0


@njit(cache=True)
def close(
    ev: Any,
    tk: Any,
    vl: Any,
    rd: Any,
    peak: Any,
    num: Any,
    cost: Any,
    work: Any,
    stage: int,
    task: int,
    across: int,
    eager: float,
) -> bool:
    """Run `task` again before `stage`, and what it reads where that is gone.

    A value that is gone is either made again too or held on from its last read to here.  Holding on
    is pointless if it crosses the stage `across` whose memory we want to relieve.
    """
    n = len(peak)
    top = 0
    work[0, 3] = task
    some = False
    while top >= 0 and cost[NOW] < cost[LIMIT]:
        current = work[top, 3]
        top -= 1
        for i in range(tk[current, READ], tk[current + 1, READ]):
            value = rd[i, 0]
            source = vl[value, MAKER]
            s_end, t_end = end_of(ev, vl, rd, n, value, find(ev, source, stage))
            if s_end > stage or (s_end == stage and t_end >= current):
                continue
            if not tk[source, RERUN] or vl[value, SIZE] == 0 or top >= len(work) - 2:
                continue
            if chance(num) < (eager if s_end < across else 0.35 * eager):
                top += 1
                work[top, 3] = source
        if insert(ev, tk, vl, rd, peak, num, cost, work, stage, current):
            some = True
        elif not some:
            return False
    return some


@njit(cache=True)
def prune(
    ev: Any,
    tk: Any,
    vl: Any,
    rd: Any,
    peak: Any,
    num: Any,
    cost: Any,
    work: Any,
    stage: int,
    task: int,
) -> None:
    """After (stage, task) went away, remove pairs of that stage that nothing reads any more."""
    n = len(peak)
    top = 0
    work[0, 3] = task
    while top >= 0:
        current = work[top, 3]
        top -= 1
        for i in range(tk[current, READ], tk[current + 1, READ]):
            source = vl[rd[i, 0], MAKER]
            event = find(ev, source, stage)
            if event < n or ev[event, STAGE] != stage:
                continue
            after = ev[event, AFTER]
            before = ev[after, STAGE] if after >= 0 else n
            useless = True
            for value in range(tk[source, MADE], tk[source + 1, MADE]):
                s_end, _ = last_use(ev, vl, rd, value, before)
                if s_end >= stage or (after < 0 and vl[value, KEEP]):
                    useless = False
            room = top < len(work) - 1
            if useless and room and delete(ev, tk, vl, rd, peak, num, cost, work, event):
                top += 1
                work[top, 3] = source


@njit(cache=True)
def next_use(ev: Any, vl: Any, rd: Any, value: int, stage: int) -> int:
    """Return the stage of the first read of `value` at a stage after `stage`, or -1."""
    best = -1
    for i in range(vl[value, USE], vl[value + 1, USE]):
        event = rd[i, 1]
        while event >= 0 and ev[event, STAGE] <= stage:
            event = ev[event, AFTER]
        if event >= 0 and (best < 0 or ev[event, STAGE] < best):
            best = ev[event, STAGE]
    return best


@njit(cache=True)
def over_budget(peak: Any, num: Any) -> int:
    """Return a stage over budget: often the last one seen, else a random one."""
    n = len(peak)
    if chance(num) < 0.5 and peak[num[SEEN]] > num[BUDGET]:
        return num[SEEN]
    start = below(num, n)
    for i in range(n):
        s = start + i
        if s >= n:
            s -= n
        if peak[s] > num[BUDGET]:
            return s
    return num[SEEN]


@njit(cache=True)
def relieve(
    ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, work: Any, candidates: Any
) -> bool:
    """Drop one value that is held idle across a stage that is over budget."""
    across = over_budget(peak, num)
    for _ in range(24):
        value = candidates[below(num, len(candidates))]
        task = vl[value, MAKER]
        if task >= across:
            continue
        after = ev[find(ev, task, across), AFTER]
        stage = next_use(ev, vl, rd, value, across)
        if stage < 0 or (after >= 0 and ev[after, STAGE] <= stage):
            continue
        r = chance(num)
        eager = 1.0 if r < 0.6 else 0.8 if r < 0.85 else 0.0
        reads = tk[task + 1, READ] - tk[task, READ]
        if reads > 0 and chance(num) < 0.12:  # earlier than needed, while its inputs are there
            read = rd[tk[task, READ] + below(num, reads), 0]
            other = next_use(ev, vl, rd, read, across)
            if across < other < stage:
                stage = other
        if close(ev, tk, vl, rd, peak, num, cost, work, stage, task, across, eager):
            return True
    return False


@njit(cache=True)
def other_stage(ev: Any, tk: Any, vl: Any, rd: Any, num: Any, stage: int, task: int) -> int:
    """Return a stage to which the pair (stage, task) might move, or -1."""
    near = chance(num)
    if near < 0.25:
        return stage + below(num, 9) - 4
    pick = -1
    value = tk[task, MADE]
    reads = tk[task + 1, READ] - tk[task, READ]
    if near < 0.65 and tk[task + 1, MADE] > value:
        uses = vl[value + 1, USE] - vl[value, USE]
        if uses > 0:
            pick = rd[vl[value, USE] + below(num, uses), 1]
    elif reads > 0:
        pick = vl[rd[tk[task, READ] + below(num, reads), 0], MAKER]
    if pick < 0:
        return -1
    while ev[pick, AFTER] >= 0 and chance(num) < 0.7:
        pick = ev[pick, AFTER]
    return ev[pick, STAGE]


@njit(cache=True)
def propose(
    ev: Any, tk: Any, vl: Any, rd: Any, peak: Any, num: Any, cost: Any, work: Any, candidates: Any
) -> None:
    """Make one random move: relieve, add, remove or shift, then repair what that broke."""
    n = len(peak)
    count = num[COUNT]
    if num[EXCESS] > 0 and chance(num) < 0.5:
        relieve(ev, tk, vl, rd, peak, num, cost, work, candidates)
        return
    r = chance(num)
    if count == 0 or r < 0.12:
        value = candidates[below(num, len(candidates))]
        task = vl[value, MAKER]
        event = rd[vl[value, USE] + below(num, vl[value + 1, USE] - vl[value, USE]), 1]
        while ev[event, AFTER] >= 0 and chance(num) < 0.5:
            event = ev[event, AFTER]
        stage = ev[event, STAGE]
        if task < stage:
            close(ev, tk, vl, rd, peak, num, cost, work, stage, task, n, chance(num))
    else:
        event = ev[below(num, count), LIVE]
        stage, task = ev[event, STAGE], ev[event, TASK]
        other = -1
        if r >= 0.8:
            other = other_stage(ev, tk, vl, rd, num, stage, task)
            if other <= task or other >= n or other == stage:
                return
        if not delete(ev, tk, vl, rd, peak, num, cost, work, event):
            return
        if chance(num) < 0.8:
            prune(ev, tk, vl, rd, peak, num, cost, work, stage, task)
        if other >= 0:
            close(ev, tk, vl, rd, peak, num, cost, work, other, task, n, chance(num))
        elif num[COUNT] > 0 and chance(num) < 0.15:
            event = ev[below(num, num[COUNT]), LIVE]
            stage, task = ev[event, STAGE], ev[event, TASK]
            if delete(ev, tk, vl, rd, peak, num, cost, work, event):
                prune(ev, tk, vl, rd, peak, num, cost, work, stage, task)
    for _ in range(1 + below(num, 3)):
        if num[EXCESS] <= 0:
            break
        relieve(ev, tk, vl, rd, peak, num, cost, work, candidates)
