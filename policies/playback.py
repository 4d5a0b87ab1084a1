"""The referee for orders with copies, once more, as one compiled loop.

``streams`` is the judge; a search cannot ask it thousands of times a second. This is the same clock
and the same count of bytes on arrays, for orders that are known to be runnable. It can also mend an
order on the way: where a task does not fit because copies to slow memory are still under way, it
waits for them, and says before which event it waited for which value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.compact import Compact, value_names
from policies.decision import Event, Fetch, Free, Store
from policies.problem import Choice, Problem

__all__ = [
    "FETCH",
    "FREE",
    "RUN",
    "STORE",
    "Machine",
    "Played",
    "codes_of",
    "machine_of",
    "playback",
]

RUN, STORE, FETCH, FREE = 0, 1, 2, 3


class Machine(NamedTuple):
    """The arrays of ``Compact`` that the clock reads, and the link.

    Attributes:
        movable: bool[V], may be copied to slow memory and takes bytes.
        copy_seconds: f64[V], of one copy in one direction.
        duplex: True if both directions run at once.
        calls: how often the late part runs.
        budget: bytes, without what is reserved.
    """

    seconds: NDArray[np.float64]
    workspace: NDArray[np.int64]
    known: NDArray[np.bool_]
    made_start: NDArray[np.int64]
    value_bytes: NDArray[np.int64]
    must_live: NDArray[np.bool_]
    read_start: NDArray[np.int64]
    reads: NDArray[np.int64]
    overwrite: NDArray[np.int64]
    overwrite_value: NDArray[np.int64]
    movable: NDArray[np.bool_]
    copy_seconds: NDArray[np.float64]
    duplex: bool
    calls: float
    budget: int


class Played(NamedTuple):
    """What an order costs, for one call unless it says otherwise.

    Attributes:
        peak: bytes, without what is reserved.
        seconds: those of the late part count ``calls`` times.
        early_seconds: before the late part.
        late_seconds: of the late part.
        stall_seconds: spent waiting for copies.
        excess: bytes over budget, summed over runs and fetches.
        waits: how many rows of ``waits`` were filled.
    """

    peak: int
    seconds: float
    early_seconds: float
    late_seconds: float
    stall_seconds: float
    excess: int
    waits: int


def machine_of(problem: Problem, compact: Compact) -> Machine:
    """Give a problem with a link as arrays for the clock.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Link
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> problem = Problem(graph, link=Link(8.0, 1.0))
    >>> machine_of(problem, compact_of(problem, 9)).copy_seconds.tolist()
    [1.5]
    """
    link = problem.link
    size = compact.value_bytes
    allowed = [Choice.OFFLOAD in problem.allowed(task) for task in compact.tasks]
    movable = np.array(allowed, np.bool_)[compact.value_task] & (size > 0) & (link is not None)
    each = [0.0 if link is None else link.copy_seconds(int(b)) for b in size]
    return Machine(
        compact.seconds,
        compact.workspace,
        compact.known,
        compact.made_start,
        size,
        compact.must_live,
        compact.read_start,
        compact.reads,
        compact.overwrite,
        compact.overwrite_value,
        np.asarray(movable, np.bool_),
        np.array(each, np.float64),
        link is None or link.duplex,
        float(problem.calls),
        compact.budget,
    )


@njit(cache=True)
def _enter(queue: Any, head: int, tail: int, busy: Any, stay: Any) -> int:
    """Put a fast copy that is under way into the queue of those that leave, soonest first."""
    place = tail
    while place > head and busy[queue[place - 1]] > busy[stay]:
        queue[place] = queue[place - 1]
        place -= 1
    queue[place] = stay
    return tail + 1


@njit(cache=True)
def play_codes(m: Any, codes: Any, wait: bool, memory: Any, waits: Any) -> Any:
    """Play rows (kind, task or value).

    Args:
        m: a Machine.
        codes: i64[events, 2]; the order can be run.
        wait: whether to wait for copies to slow memory where a task would not fit otherwise.
        memory: i64[events], filled with the bytes alive at each run and fetch.
        waits: i64[>= events, 2], filled with rows (event before which to wait, value).

    Returns:
        The fields of Played.
    """
    length = len(codes)
    ran = np.zeros(m.seconds.size, np.bool_)
    stays = 0
    late_from = -1
    boundary = 0
    for p in range(length):
        if codes[p, 0] == RUN:
            t = codes[p, 1]
            if late_from < 0 and not m.known[t]:
                late_from = boundary
            if not ran[t]:
                ran[t] = True
                boundary = p + 1
            stays += m.made_start[t + 1] - m.made_start[t]
        elif codes[p, 0] == FETCH:
            stays += 1
    if late_from < 0:
        late_from = length
    last = np.empty(stays, np.int64)
    owner = np.empty(stays, np.int64)
    here = np.zeros(stays, np.bool_)
    ready = np.zeros(stays, np.float64)
    busy = np.zeros(stays, np.float64)
    latest = np.full(m.value_bytes.size, -1, np.int64)
    made = 0
    for p in range(length):
        if codes[p, 0] == RUN:
            t = codes[p, 1]
            for r in range(m.read_start[t], m.read_start[t + 1]):
                last[latest[m.reads[r]]] = p
            for v in range(m.made_start[t], m.made_start[t + 1]):
                latest[v], last[made], owner[made] = made, p, v
                made += 1
        else:
            v = codes[p, 1]
            if codes[p, 0] == FETCH:
                latest[v], owner[made] = made, v
                made += 1
            last[latest[v]] = p
    for v in range(m.value_bytes.size):
        if m.must_live[v]:
            last[latest[v]] = length
    latest[:] = -1
    stored = np.zeros(m.value_bytes.size, np.float64)
    clock = stall = early = out_free = back_free = 0.0
    made = live = peak = excess = waited = 0
    leaving = np.empty(stays, np.int64)
    head = tail = 0
    for p in range(length):
        kind, what = codes[p, 0], codes[p, 1]
        if p == late_from:
            early = clock
        while head < tail and busy[leaving[head]] <= clock:
            live -= m.value_bytes[owner[leaving[head]]]
            head += 1
        if kind in (RUN, FETCH):
            if kind == RUN:
                more = m.workspace[what]
                for v in range(m.made_start[what], m.made_start[what + 1]):
                    more += m.value_bytes[v]
                w = m.overwrite_value[what]
                if w >= 0 and last[latest[w]] == p:
                    more -= m.overwrite[what]
            else:
                more = m.value_bytes[what]
            while wait and live + more > m.budget and head < tail:
                i = leaving[head]
                if latest[owner[i]] != i:  # a newer copy stands in its place: none to free
                    break
                stall += busy[i] - clock
                clock = busy[i]
                waits[waited, 0], waits[waited, 1] = p, owner[i]
                waited += 1
                while head < tail and busy[leaving[head]] <= clock:
                    live -= m.value_bytes[owner[leaving[head]]]
                    head += 1
            memory[p] = live + more
            peak = max(peak, live + more)
            excess += max(0, live + more - m.budget)
        if kind == STORE:
            i = latest[what]
            begin = max(out_free, clock, ready[i])
            if not m.duplex:
                begin = max(begin, back_free)
            out_free = begin + m.copy_seconds[what]
            busy[i] = max(busy[i], out_free)
            stored[what] = out_free
        elif kind == FETCH:
            i = made
            made += 1
            latest[what], here[i] = i, True
            live += m.value_bytes[what]
            begin = max(back_free, clock, stored[what])
            if not m.duplex:
                begin = max(begin, out_free)
            back_free = begin + m.copy_seconds[what]
            ready[i] = busy[i] = back_free
        elif kind == FREE:
            i = latest[what]
            stall += max(0.0, busy[i] - clock)
            clock = max(clock, busy[i])
        if kind != RUN:
            i = latest[what]
            if last[i] == p and here[i]:
                here[i] = False
                if busy[i] > clock:
                    tail = _enter(leaving, head, tail, busy, i)
                else:
                    live -= m.value_bytes[what]
            continue
        until = 0.0
        for r in range(m.read_start[what], m.read_start[what + 1]):
            until = max(until, ready[latest[m.reads[r]]])
        stall += max(0.0, until - clock)
        clock = max(clock, until) + m.seconds[what]
        for r in range(m.read_start[what], m.read_start[what + 1]):
            v = m.reads[r]
            i = latest[v]
            if last[i] == p and here[i]:
                here[i] = False
                if busy[i] > clock:
                    tail = _enter(leaving, head, tail, busy, i)
                else:
                    live -= m.value_bytes[v]
        for v in range(m.made_start[what], m.made_start[what + 1]):
            i = made
            made += 1
            latest[v], here[i] = i, last[i] > p
            if here[i]:
                live += m.value_bytes[v]
    for v in range(m.value_bytes.size):
        if m.must_live[v]:
            until = ready[latest[v]]
            stall += max(0.0, until - clock)
            clock = max(clock, until)
    if late_from == length:
        early = clock
    seconds = early + m.calls * (clock - early)
    return peak, seconds, early, clock - early, stall, excess, waited


def playback(machine: Machine, codes: NDArray[np.int64]) -> Played:
    """Play rows (kind, task or value) that can be run, waiting for nothing but what they say.

    Args:
        machine: the problem.
        codes: i64[events, 2], of RUN, STORE, FETCH and FREE.

    Returns:
        The same figures as ``streams.play`` gives.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Link
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 9), ("c", 1)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edge("a", "c")
    >>> problem = Problem(graph, link=Link(8.0), first_order=("a", "b", "c"))
    >>> order = ["a", Store("a"), Free("a"), "b", Fetch("a"), "c"]
    >>> machine = machine_of(problem, compact_of(problem, 0))
    >>> played = playback(machine, codes_of(problem, compact_of(problem, 0), order))
    >>> played.peak, played.seconds, played.stall_seconds
    (9, 4.0, 1.0)
    """
    memory = np.zeros(len(codes), np.int64)
    waits = np.zeros((len(codes), 2), np.int64)
    return Played(*play_codes(machine, codes, False, memory, waits))


def codes_of(problem: Problem, compact: Compact, order: Sequence[Event]) -> NDArray[np.int64]:
    """Give an order as rows (kind, task or value).

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> problem = Problem(graph)
    >>> codes_of(problem, compact_of(problem, 0), ["a", Store("a")]).tolist()
    [[0, 0], [1, 0]]
    """
    task = {name: t for t, name in enumerate(compact.tasks)}
    value = {name: v for v, name in enumerate(value_names(problem)) if name is not None}
    kinds: dict[type, int] = {Store: STORE, Fetch: FETCH, Free: FREE}
    rows = [
        (kinds[type(event)], value[event.value])
        if isinstance(event, (Store, Fetch, Free))
        else (RUN, task[event])
        for event in order
    ]
    return np.array(rows, np.int64).reshape(-1, 2)
