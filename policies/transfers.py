"""From recomputations and offloads to an order with copies: when each copy starts.

A plan is a set of rows (stage, task), as in ``lifetimes``, and a set of marks (value, stage): the
value is not in fast memory when the stage begins. Whichever gap between two uses of the value lies
across a mark is offloaded; a mark that no gap crosses says nothing. So every pair of sets is a
plan, and a mark keeps its meaning while recomputations come and go.

A value is stored as soon as it is made, since its memory is only given up once the store is
complete. It is fetched as late as its reader allows: one pass from the end takes the places on the
stream back in the order of need, each as late as the next one and its reader let it be, and later
still (which stalls) where the budget leaves no room for it. Waits for stores are put in by
``playback`` where a task would not fit.

Source: the latest-start pass is the one of our own design notes; streams that overlap with compute
follow Rhu et al., "vDNN: Virtualized Deep Neural Networks for Scalable, Memory-Efficient Neural
Network Design" (MICRO 2016).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.compact import Compact
from policies.decision import Event, Fetch, Free, Store
from policies.playback import FETCH, FREE, RUN, STORE, Machine, Played, play_codes

__all__ = ["Arranged", "arrange", "events_of"]


@njit(cache=True)
def _runs(n: int, pairs: Any) -> Any:
    """Give the tasks of a plan in their order, and the stage of each and of the end."""
    run = np.empty(n + len(pairs), np.int64)
    stage = np.full(n + len(pairs) + 1, n, np.int64)
    p = k = 0
    for s in range(n):
        while k < len(pairs) and pairs[k, 0] == s:
            run[p], stage[p] = pairs[k, 1], s
            p += 1
            k += 1
        run[p], stage[p] = s, s
        p += 1
    return run, stage


@njit(cache=True)
def _note(  # noqa: PLR0917
    gaps: Any, count: int, value: Any, before: Any, after: int, instance: Any, marked: Any
) -> int:
    """Write one row of gaps."""
    gaps[count, 0], gaps[count, 1], gaps[count, 2] = value, before, after
    gaps[count, 3] = instance
    gaps[count, 4] = 1 if marked else 0
    return count + 1


@njit(cache=True)
def _add_up(change: Any) -> None:
    """Turn changes into sums, in place."""
    for p in range(1, len(change)):
        change[p] += change[p - 1]


@njit(cache=True)
def _first_at(clock: Any, seconds: float) -> int:
    """Give the first position that begins no earlier than so many seconds."""
    low, high = 0, len(clock)
    while low < high:
        middle = (low + high) // 2
        if clock[middle] < seconds:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def _gaps(m: Any, run: Any, stage: Any, marks: Any) -> Any:
    """Find the gaps that might be offloaded, and the memory of everything else.

    Returns:
        gaps i64[G, 5]: value, position of the use before, of the use after (the end for what must
        live), instance, 1 if marked; memory i64[positions + 1] without any of the gaps, the end
        included; first instance made at each position.
    """
    length = len(run)
    values = m.value_bytes.size
    most, made = values, 0
    for p in range(length):
        most += m.read_start[run[p] + 1] - m.read_start[run[p]]
    gaps = np.empty((most, 5), np.int64)
    count = 0
    change = np.zeros(length + 2, np.int64)
    first_made = np.empty(length + 1, np.int64)
    before = np.full(values, -1, np.int64)
    born = np.full(values, -1, np.int64)
    instance = np.full(values, -1, np.int64)
    stop = np.zeros(values, np.int64)  # of the marks of each value
    pointer = np.zeros(values, np.int64)
    k = 0
    for v in range(values):
        pointer[v] = k
        while k < len(marks) and marks[k, 0] == v:
            k += 1
        stop[v] = k
    for p in range(length):
        t = run[p]
        for r in range(m.read_start[t], m.read_start[t + 1]):
            v = m.reads[r]
            q = before[v]
            size = m.value_bytes[v]
            change[p] += size
            change[p + 1] -= size
            taken = q != born[v] and m.overwrite_value[run[q]] == v
            if m.movable[v] and stage[q] < stage[p] and not taken:
                k = pointer[v]
                while k < stop[v] and marks[k, 1] <= stage[q]:
                    k += 1
                pointer[v] = k
                marked = k < stop[v] and marks[k, 1] <= stage[p]
                count = _note(gaps, count, v, q, p, instance[v], marked)
            else:
                change[q + 1] += size
                change[p] -= size
            before[v] = p
        first_made[p] = made
        for v in range(m.made_start[t], m.made_start[t + 1]):
            q = before[v]
            if q != born[v] and m.overwrite_value[run[q]] == v:
                change[q] -= m.overwrite[run[q]]
                change[q + 1] += m.overwrite[run[q]]
            change[p] += m.value_bytes[v]
            change[p + 1] -= m.value_bytes[v]
            before[v] = born[v] = p
            instance[v] = made
            made += 1
        change[p] += m.workspace[t]
        change[p + 1] -= m.workspace[t]
    first_made[length] = made
    for v in range(values):
        q = before[v]
        if m.must_live[v]:
            if m.movable[v] and q < length - 1:
                k = pointer[v]
                while k < stop[v] and marks[k, 1] <= stage[q]:
                    k += 1
                count = _note(gaps, count, v, q, length, instance[v], k < stop[v])
                change[length] += m.value_bytes[v]
            else:
                change[q + 1] += m.value_bytes[v]
        elif q >= 0 and q != born[v] and m.overwrite_value[run[q]] == v:
            change[q] -= m.overwrite[run[q]]
            change[q + 1] += m.overwrite[run[q]]
    _add_up(change)
    return gaps[:count], change[: length + 1], first_made


@njit(cache=True)
def _stores(m: Any, run: Any, clock: Any, gaps: Any, first_made: Any) -> Any:
    """Find when the store of each instance is complete if nothing stalls; inf for no store."""
    length = len(run)
    end = np.full(first_made[length], np.inf)
    for g in range(len(gaps)):
        if gaps[g, 4]:
            end[gaps[g, 3]] = 0.0
    free = 0.0
    for p in range(length):
        for i in range(first_made[p], first_made[p + 1]):
            if end[i] == 0.0:
                v = m.made_start[run[p]] + i - first_made[p]
                free = max(free, clock[p + 1]) + m.copy_seconds[v]
                end[i] = free
    return end


@njit(cache=True)
def _fetches(  # noqa: D417
    m: Any, clock: Any, gaps: Any, memory: Any, leave: Any
) -> Any:
    """Give for each gap the position before which to fetch its value, -1 for a gap to hold.

    Args:
        leave: for each gap, the first position at which its value is gone.
    """
    length = len(clock) - 1
    fetch = np.full(len(gaps), -1, np.int64)
    # gaps by the position at which their values leave, as linked lists
    head = np.full(length + 2, -1, np.int64)
    link = np.full(len(gaps), -1, np.int64)
    for g in range(len(gaps)):
        if leave[g] >= 0:
            link[g] = head[leave[g]]
            head[leave[g]] = g
    void = np.zeros(len(gaps), np.bool_)
    low = high = len(gaps) - 1  # gaps low + 1 ... high are under way, in the order of need
    extra = 0
    next_start = np.inf
    for x in range(length, -1, -1):
        g = head[x + 1]
        while g >= 0:  # not gone yet here: nothing would be won
            if fetch[g] < 0:
                void[g] = True
                extra -= m.value_bytes[gaps[g, 0]]
            g = link[g]
        while low < high and extra + memory[x] > m.budget:
            if leave[high] >= 0 and not void[high]:
                fetch[high] = x + 1
                extra -= m.value_bytes[gaps[high, 0]]
                next_start = min(next_start, clock[x + 1])
            high -= 1
        while low >= 0 and gaps[low, 2] == x:
            if leave[low] >= 0:
                extra += m.value_bytes[gaps[low, 0]]
            low -= 1
        while low < high:
            if leave[high] >= 0 and not void[high]:
                v = gaps[high, 0]
                start = min(clock[gaps[high, 2]], next_start) - m.copy_seconds[v]
                if clock[x] > start:
                    break
                fetch[high] = x
                extra -= m.value_bytes[v]
                next_start = start
            high -= 1
    return fetch


@njit(cache=True)
def _order(m: Any, pairs: Any, marks: Any, wait: bool) -> Any:
    """Give the order with copies as codes, with the gaps, their fetches, and runs with stages.

    A store that is not complete by the time of the next use if nothing stalls is only worth making
    if the clock may wait for it.
    """
    run, stage = _runs(m.seconds.size, pairs)
    length = len(run)
    clock = np.zeros(length + 1, np.float64)
    for p in range(length):
        clock[p + 1] = clock[p] + m.seconds[run[p]]
    gaps, memory, first_made = _gaps(m, run, stage, marks)
    end = _stores(m, run, clock, gaps, first_made)
    change = np.zeros(length + 1, np.int64)
    leave = np.full(len(gaps), -1, np.int64)
    for g in range(len(gaps)):
        size = m.value_bytes[gaps[g, 0]]
        q, p = gaps[g, 1], gaps[g, 2]
        gone = p
        if gaps[g, 4]:
            gone = min(p, max(q + 1, _first_at(clock, end[gaps[g, 3]])))
            if gone == p and wait:
                gone = q + 1
            if gone < p:
                leave[g] = gone
        change[q + 1] += size
        change[gone] -= size
    _add_up(change)
    memory = memory + change
    fetch = _fetches(m, clock, gaps, memory, leave)
    stored = np.zeros(first_made[length], np.bool_)
    copies = 0
    for g in range(len(gaps)):
        if fetch[g] >= 0:
            copies += 2
            stored[gaps[g, 3]] = True
    codes = np.empty((length + copies, 2), np.int64)
    e = g = 0
    for p in range(length):
        while g < len(gaps) and (fetch[g] < 0 or fetch[g] <= p):
            if fetch[g] >= 0:
                codes[e, 0], codes[e, 1] = FETCH, gaps[g, 0]
                e += 1
            g += 1
        codes[e, 0], codes[e, 1] = RUN, run[p]
        e += 1
        for i in range(first_made[p], first_made[p + 1]):
            if stored[i]:
                codes[e, 0] = STORE
                codes[e, 1] = m.made_start[run[p]] + i - first_made[p]
                e += 1
    while g < len(gaps):
        if fetch[g] >= 0:
            codes[e, 0], codes[e, 1] = FETCH, gaps[g, 0]
            e += 1
        g += 1
    return codes[:e], gaps, fetch, run, stage


@njit(cache=True)
def _arrange(m: Any, pairs: Any, marks: Any, wait: bool) -> Any:
    codes, gaps, fetch, run, stage = _order(m, pairs, marks, wait)
    memory = np.zeros(len(codes), np.int64)
    waits = np.zeros((len(codes), 2), np.int64)
    played = play_codes(m, codes, wait, memory, waits)
    at = np.empty(len(run), np.int64)
    p = 0
    for e in range(len(codes)):
        if codes[e, 0] == RUN:
            at[p] = memory[e]
            p += 1
    return played, codes, waits[: played[6]], gaps, fetch, run, stage, at


@dataclass(frozen=True, slots=True)
class Arranged:
    """A plan with copies, priced.

    Attributes:
        played: what it costs; it fits if ``played.excess`` is 0.
        codes: rows (kind, task or value), without the waits.
        waits: rows (event before which to wait, value).
        gaps: rows (value, position of the use before, of the use after or the end, instance,
            marked).
        fetch: for each gap, the position before which its value is fetched, or -1: it is held.
        run: the task at each position.
        stage: the stage of each position, and at last the number of stages for the end.
        memory: bytes alive at each position.
    """

    played: Played
    codes: NDArray[np.int64]
    waits: NDArray[np.int64]
    gaps: NDArray[np.int64]
    fetch: NDArray[np.int64]
    run: NDArray[np.int64]
    stage: NDArray[np.int64]
    memory: NDArray[np.int64]


def arrange(
    machine: Machine, pairs: NDArray[np.int64], marks: NDArray[np.int64], *, wait: bool = True
) -> Arranged:
    """Place the copies of a plan and price it.

    Args:
        machine: the problem, with its budget.
        pairs: rows (stage, task), sorted.
        marks: rows (value, stage), sorted.
        wait: wait for stores where a task would not fit otherwise.

    Complexity:
        O(runs + reads + copies log copies).

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.playback import machine_of
    >>> from policies.problem import Link, Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 4), ("c", 6), ("d", 1)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edge("a", "d")
    >>> problem = Problem(graph, link=Link(8.0), first_order=tuple("abcd"))
    >>> machine = machine_of(problem, compact_of(problem, 8))
    >>> arranged = arrange(machine, np.zeros((0, 2), np.int64), np.array([[0, 2]]))
    >>> arranged.played.seconds, arranged.played.excess
    (4.5, 0)
    """
    played, codes, waits, gaps, fetch, run, stage, memory = _arrange(machine, pairs, marks, wait)
    return Arranged(Played(*played), codes, waits, gaps, fetch, run, stage, memory)


def events_of(
    compact: Compact, names: tuple[Hashable, ...], arranged: Arranged
) -> tuple[Event, ...]:
    """Give the order of a plan, waits for stores included, as the referee reads it.

    >>> from policies.playback import Played
    >>> nothing = np.zeros((0, 2), np.int64)
    >>> played = Played(0, 0.0, 0.0, 0.0, 0.0, 0, 0)
    >>> arranged = Arranged(played, *[nothing] * 7)
    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> events_of(compact_of(Problem(nx.DiGraph()), 0), (), arranged)
    ()
    """
    order: list[Event] = []
    waits = arranged.waits.tolist()
    w = 0
    for position, (kind, what) in enumerate(arranged.codes.tolist()):
        while w < len(waits) and waits[w][0] == position:
            order.append(Free(names[waits[w][1]]))
            w += 1
        if kind == RUN:
            order.append(compact.tasks[what])
        else:
            order.append({STORE: Store, FETCH: Fetch, FREE: Free}[kind](names[what]))
    return tuple(order)
