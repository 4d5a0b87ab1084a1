"""The referee: peak bytes and seconds of any order, by whomever it was made.

One pass finds the last read of every instance, a second plays the order and counts bytes; both take
time linear in the tasks that are run and the values that they read.  Orders with copies to and from
slow memory are played by ``policies.streams``.

The late part of an order begins right after the last first execution that precedes the first
unknown task: what runs again from there on is part of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.compact import Compact, compact_of, value_names
from policies.decision import Decision, Event, Fetch, Free, Store
from policies.errors import InvalidDecision
from policies.problem import Choice, Problem

__all__ = ["Evaluation", "Outcome", "evaluate", "memory_profile", "save_all_peak", "simulate"]

OUT_OF_RANGE, OUT_OF_ORDER, RUN_AGAIN, MISSING, HELD, NEVER_RUN = 1, 2, 3, 4, 5, 6


class Outcome(NamedTuple):
    """What the inner loop found: bytes without what is reserved, seconds for one call."""

    peak: int
    seconds: float
    argmax: int
    early_seconds: float
    late_seconds: float
    recomputations: int


@dataclass(frozen=True)
class Evaluation:
    """What an order costs.

    Attributes:
        peak_bytes: most bytes alive at once, reserved bytes included; when stages run apart, in the
            late part, with what was kept for it.
        seconds: of all runs, stalls and loads; those of the late part count ``calls`` times.
        argmax: position of the order at which the peak is reached first; -1 in an empty order.
        live: ``(value, bytes)`` alive there, own outputs of the task included.
        workspace_bytes: of the task that runs there.
        recomputations: runs beyond the first run of each task.
        early_seconds: before the late part, one time.
        late_seconds: of the late part, one time.
        crossing_bytes: bytes of the instances made before the late part and read in it.
        stall_seconds: spent waiting for copies.
        offloaded_bytes: bytes copied to slow memory.
        fast_crossing_bytes: those of ``crossing_bytes`` that are in fast memory meanwhile.
    """

    peak_bytes: int
    seconds: float
    argmax: int
    live: tuple[tuple[Hashable, int], ...]
    workspace_bytes: int
    recomputations: int
    early_seconds: float
    late_seconds: float
    crossing_bytes: int
    stall_seconds: float = 0.0
    offloaded_bytes: int = 0
    fast_crossing_bytes: int = 0


@njit(cache=True)
def simulate_arrays(  # noqa: D417, PLR0917 (the arrays are those of Compact)
    seconds: NDArray[np.float64],
    workspace: NDArray[np.int64],
    known: NDArray[np.bool_],
    rerun: NDArray[np.bool_],
    hold: NDArray[np.bool_],
    made_start: NDArray[np.int64],
    value_bytes: NDArray[np.int64],
    value_task: NDArray[np.int64],
    must_live: NDArray[np.bool_],
    read_start: NDArray[np.int64],
    reads: NDArray[np.int64],
    overwrite: NDArray[np.int64],
    overwrite_value: NDArray[np.int64],
    fixed: bool,
    sequence: NDArray[np.int64],
    memory: NDArray[np.int64],
    alive_at: int,
    alive: NDArray[np.bool_],
) -> Any:
    """Play a sequence of task indices.

    Args:
        memory: if as long as the sequence, filled with the bytes alive at each position.
        alive_at: a position, or -1; ``alive`` is filled with the values alive there.

    Returns:
        error code (0 = valid), its position, its value, peak bytes, its position, seconds before
        the late part, seconds of the late part, recomputations, crossing bytes.
    """
    length = sequence.size
    n = seconds.size
    instances = 0
    late = length
    boundary = 0
    ran = np.zeros(n, np.bool_)
    for p in range(length):
        t = sequence[p]
        if t < 0 or t >= n:
            return OUT_OF_RANGE, p, -1, 0, -1, 0.0, 0.0, 0, 0
        if late == length and not known[t]:
            late = boundary
        if not ran[t]:
            ran[t] = True
            boundary = p + 1
        instances += made_start[t + 1] - made_start[t]
    last = np.empty(instances, np.int64)
    latest = np.full(value_bytes.size, -1, np.int64)
    ran[:] = False
    again = 0
    first = 0
    made = 0
    late_instance = instances
    for p in range(length):
        t = sequence[p]
        if p == late:
            late_instance = made
        if ran[t]:
            again += 1
            if not rerun[t]:
                return RUN_AGAIN, p, -1, 0, -1, 0.0, 0.0, 0, 0
        else:
            if fixed and t != first:
                return OUT_OF_ORDER, p, -1, 0, -1, 0.0, 0.0, 0, 0
            ran[t] = True
            first += 1
        for r in range(read_start[t], read_start[t + 1]):
            v = reads[r]
            i = latest[v]
            if i < 0:
                return MISSING, p, v, 0, -1, 0.0, 0.0, 0, 0
            barred = p >= late and not known[t] and not hold[value_task[v]]
            # what takes no memory may always be held
            if barred and i < late_instance and value_bytes[v] > 0:
                return HELD, p, v, 0, -1, 0.0, 0.0, 0, 0
            last[i] = p
        for v in range(made_start[t], made_start[t + 1]):
            latest[v] = made
            last[made] = p
            made += 1
    if first < n:
        for t in range(n):
            if not ran[t]:
                return NEVER_RUN, t, -1, 0, -1, 0.0, 0.0, 0, 0
    for v in range(value_bytes.size):
        if must_live[v]:
            last[latest[v]] = length
    latest[:] = -1
    made = 0
    live = 0
    peak = 0
    argmax = -1
    early_seconds = 0.0
    late_seconds = 0.0
    crossing = 0
    for p in range(length):
        t = sequence[p]
        if p >= late:
            late_seconds += seconds[t]
        else:
            early_seconds += seconds[t]
        for v in range(made_start[t], made_start[t + 1]):
            latest[v] = made
            if p < late <= last[made]:
                crossing += value_bytes[v]
            made += 1
            live += value_bytes[v]
        now = live + workspace[t]
        w = overwrite_value[t]
        if w >= 0 and last[latest[w]] == p:
            now -= overwrite[t]
        if memory.size == length:
            memory[p] = now
        if now > peak or argmax < 0:
            peak = now
            argmax = p
        if p == alive_at:
            for v in range(value_bytes.size):
                i = latest[v]
                alive[v] = i >= 0 and last[i] >= p
        for r in range(read_start[t], read_start[t + 1]):
            v = reads[r]
            if last[latest[v]] == p:
                live -= value_bytes[v]
        for v in range(made_start[t], made_start[t + 1]):
            if last[latest[v]] == p:
                live -= value_bytes[v]
    return 0, -1, -1, peak, argmax, early_seconds, late_seconds, again, crossing


_NO_MEMORY = np.zeros(0, np.int64)
_NO_ALIVE = np.zeros(0, np.bool_)


def _play(
    compact: Compact,
    sequence: NDArray[np.int64],
    *,
    memory: NDArray[np.int64] = _NO_MEMORY,
    alive_at: int = -1,
    alive: NDArray[np.bool_] = _NO_ALIVE,
    hold: NDArray[np.bool_] | None = None,
) -> tuple[int, int, int, int, int, float, float, int, int]:
    return simulate_arrays(
        compact.seconds,
        compact.workspace,
        compact.known,
        compact.rerun,
        compact.hold if hold is None else hold,
        compact.made_start,
        compact.value_bytes,
        compact.value_task,
        compact.must_live,
        compact.read_start,
        compact.reads,
        compact.overwrite,
        compact.overwrite_value,
        not compact.free_order,
        sequence,
        memory,
        alive_at,
        alive,
    )


def simulate(compact: Compact, sequence: NDArray[np.int64] | Sequence[int]) -> Outcome:
    """Play a sequence of task indices.

    Args:
        compact: the problem as arrays.
        sequence: task indices; a repeat is a recomputation.

    Returns:
        Peak bytes (without what is reserved), seconds and where the peak is.

    Raises:
        InvalidDecision: naming position, task and missing value.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=8, workspace_bytes=5)
    >>> graph.add_edge("a", "b")
    >>> compact = compact_of(Problem(graph, first_order=("a", "b")), 20)
    >>> outcome = simulate(compact, [0, 1])
    >>> outcome.peak, outcome.seconds, outcome.argmax
    (17, 3.0, 1)
    >>> simulate(compact, [1, 0])
    Traceback (most recent call last):
    ...
    policies.errors.InvalidDecision: position 0: task 'b' runs before task 'a', out of order
    """
    indices = np.ascontiguousarray(sequence, dtype=np.int64)
    code, where, value, peak, argmax, early, late, again, _ = _play(compact, indices)
    if code:
        raise _invalid(compact, indices, (code, where, value))
    return Outcome(peak, early + late, argmax, early, late, again)


def memory_profile(compact: Compact, sequence: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the bytes alive at each position of a sequence, without what is reserved.

    Raises:
        InvalidDecision: the sequence cannot be run.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=8)
    >>> graph.add_edge("a", "b")
    >>> memory_profile(compact_of(Problem(graph), 20), np.array([0, 1])).tolist()
    [4, 12]
    """
    memory = np.zeros(len(sequence), np.int64)
    code, where, value, *_ = _play(compact, sequence, memory=memory)
    if code:
        raise _invalid(compact, sequence, (code, where, value))
    return memory


def save_all_peak(problem: Problem) -> int:
    """Give the peak bytes when every task runs once in the first order, reserved bytes included.

    That an output may not be held to a later stage is disregarded here: this is the yardstick for
    fractions, not always a plan.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> save_all_peak(Problem(graph, reserved_bytes=3))
    7
    """
    if problem.options:
        problem = problem.choose({})
    compact = compact_of(problem, 0)
    if "save_all" not in problem.cache:
        everything = np.ones(compact.n, np.bool_)
        order = np.arange(compact.n, dtype=np.int64)
        problem.cache["save_all"] = _play(compact, order, hold=everything)[3]
    return problem.cache["save_all"] + problem.fixed_bytes


def evaluate(
    problem: Problem,
    plan: Decision | Sequence[Event],
    kept: Mapping[Hashable, Choice] | None = None,
) -> Evaluation:
    """Price an order.

    Args:
        problem: what is planned; with option groups, ``plan`` must be a Decision that chooses.
        plan: a decision, or the order alone.
        kept: the known values that are kept for the unknown stage; by default those of the
            decision, or else, with ``Problem.loads``, those that the order reads there.

    Returns:
        Peak, seconds and what is alive at the peak.

    Raises:
        InvalidDecision: naming position, task and missing value.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=2, bytes=8)
    >>> graph.add_node("c", seconds=3, bytes=1)
    >>> graph.add_edges_from([("a", "b"), ("a", "c"), ("b", "c")])
    >>> evaluate(Problem(graph), ["a", "b", "c"]).live
    (('a', 4), ('b', 8), ('c', 1))
    >>> evaluate(Problem(graph), ["a", "b", "a", "c"]).seconds
    7.0
    """
    order = plan.order if isinstance(plan, Decision) else tuple(plan)
    if problem.options:
        if not isinstance(plan, Decision) or set(plan.options) != set(problem.options):
            raise InvalidDecision("the plan does not choose one option of each group")
        problem = problem.choose(plan.options)
    if kept is None and isinstance(plan, Decision):
        kept = plan.kept
    staged = kept is not None or problem.loads is not None
    if any(isinstance(event, (Store, Fetch, Free)) for event in order):
        from policies.streams import play

        if staged:
            raise InvalidDecision(
                "what is kept between stages is said in Decision.kept, not by copies"
            )
        return play(problem, order)
    compact = compact_of(problem, 0)
    sequence = sequence_of(compact, order)
    result = _play(compact, sequence)
    code, where, value, peak, argmax, early, late, again, crossing = result
    names = value_names(problem)
    if code:
        raise _invalid(compact, sequence, (code, where, value), names)
    alive = np.zeros(len(names), np.bool_)
    _play(compact, sequence, alive_at=argmax, alive=alive)
    sizes = compact.value_bytes
    live = tuple((names[v], int(sizes[v])) for v in np.flatnonzero(alive) if sizes[v] > 0)
    found = Evaluation(
        peak_bytes=peak + problem.fixed_bytes,
        seconds=early + problem.calls * late,
        argmax=argmax,
        live=live,
        workspace_bytes=int(compact.workspace[sequence[argmax]]) if argmax >= 0 else 0,
        recomputations=again,
        early_seconds=early,
        late_seconds=late,
        crossing_bytes=crossing,
        fast_crossing_bytes=crossing,
    )
    if not staged:
        return found
    from policies.late import staged as with_kept

    return with_kept(problem, order, kept, found)


def sequence_of(compact: Compact, order: Sequence[Event]) -> NDArray[np.int64]:
    """Give the task indices of an order of task ids.

    Raises:
        InvalidDecision: an item that is not a task.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> sequence_of(compact_of(Problem(graph), 0), ["a", "a"]).tolist()
    [0, 0]
    """
    index = {task: position for position, task in enumerate(compact.tasks)}
    sequence = np.empty(len(order), np.int64)
    for position, task in enumerate(order):
        try:
            sequence[position] = index[task]
        except (KeyError, TypeError):
            message = f"position {position}: {task!r} is not a task of the graph"
            raise InvalidDecision(message, position=position, task=task) from None
    return sequence


def _invalid(
    compact: Compact,
    sequence: NDArray[np.int64],
    error: tuple[int, int, int],
    names: tuple[Hashable, ...] | None = None,
) -> InvalidDecision:
    """Put an error of the inner loop into words."""
    code, where, value = error
    if code == NEVER_RUN:
        never = compact.tasks[where]
        return InvalidDecision(f"task {never!r} is never run", task=never)
    if code == OUT_OF_RANGE:
        index = int(sequence[where])
        message = f"position {where}: there is no task number {index}"
        return InvalidDecision(message, position=where)
    task = compact.tasks[sequence[where]]
    start = f"position {where}: task {task!r}"
    if code == RUN_AGAIN:
        return InvalidDecision(f"{start} may not run again", position=where, task=task)
    if code == OUT_OF_ORDER:
        due = compact.tasks[len(set(sequence[:where].tolist()))]
        message = f"{start} runs before task {due!r}, out of order"
        return InvalidDecision(message, position=where, task=task)
    maker = compact.tasks[compact.value_task[value]]
    name = maker if names is None or names[value] is None else names[value]
    if code == MISSING:
        message = f"{start} reads {name!r}, which task {maker!r} has not made yet"
    else:
        message = f"{start} reads {name!r} from before the first unknown task; {maker!r} must rerun"
    return InvalidDecision(message, position=where, task=task, value=name)
