"""The referee of two stages: what it costs to keep some known values for the unknown stage.

One walk backward from what the unknown tasks read: a value that is kept or at hand is there;
any other is made again by its task, which asks the same of what it reads.  With N calls, the
seconds of all of this are

    known tasks once + loads of what is kept + N (unknown tasks + known tasks that run again),

where a value that stays resident is loaded once, and one that rests elsewhere in every call.
What rests are the bytes of all kept values; what is resident, of those loaded once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.compact import Compact, compact_of, value_names
from policies.errors import InvalidDecision, InvalidProblem
from policies.problem import Choice, Problem

__all__ = ["Keeping", "TwoStages", "crossing", "keeping", "two_stages", "walked"]


@dataclass(frozen=True, eq=False)
class TwoStages:
    """A problem in two stages as arrays.

    Items are what is kept or not: a value, or values of one task that stand or fall together.

    Attributes:
        compact: the problem, with items for values.
        items: the names of the values of each item; none for what takes no part.
        need: bool[I], a known item that an unknown task reads.
        free: bool[I], there in any case: at hand, or no memory of its own.
        rest_bytes: i64[I], what keeping it takes at rest.
        resident_bytes: i64[I], what keeping it resident takes.
        save_seconds: f64[I], to load it once; infinite if it may not stay resident.
        offload_seconds: f64[I], to load it in one call; infinite if it may not rest elsewhere.
        tie: i64[I], items of the same number, not -1, are kept all or none, in one way.
        early_seconds: of every known task once.
        unknown_seconds: of every unknown task once.
    """

    compact: Compact
    items: tuple[tuple[Hashable, ...], ...]
    need: NDArray[np.bool_]
    free: NDArray[np.bool_]
    rest_bytes: NDArray[np.int64]
    resident_bytes: NDArray[np.int64]
    save_seconds: NDArray[np.float64]
    offload_seconds: NDArray[np.float64]
    tie: NDArray[np.int64]
    early_seconds: float
    unknown_seconds: float

    @property
    def keepable(self) -> NDArray[np.bool_]:
        """Per item, whether it may be kept in some way."""
        return np.isfinite(np.minimum(self.save_seconds, self.offload_seconds))


@dataclass(frozen=True)
class Keeping:
    """What a kept set costs.

    Attributes:
        seconds: of all calls, and of the known stage.
        early_seconds: of the known stage.
        late_seconds: of the unknown tasks and of what runs again, in one call.
        load_once_seconds: of loads that happen once.
        load_call_seconds: of loads in every call, in one call.
        rest_bytes: of all kept values.
        resident_bytes: of those that stay in fast memory between calls.
        again: the known tasks that run again in every call.
        unread: kept values that no call reads.
    """

    seconds: float
    early_seconds: float
    late_seconds: float
    load_once_seconds: float
    load_call_seconds: float
    rest_bytes: int
    resident_bytes: int
    again: frozenset[Hashable]
    unread: frozenset[Hashable]


@njit(cache=True)
def _walk(  # noqa: PLR0917 (the arrays are those of Compact)
    value_task: NDArray[np.int64],
    rerun: NDArray[np.bool_],
    read_start: NDArray[np.int64],
    reads: NDArray[np.int64],
    need: NDArray[np.bool_],
    there: NDArray[np.bool_],
    again: NDArray[np.bool_],
    used: NDArray[np.bool_],
) -> int:
    """Find what runs again when only some items are there.

    Args:
        value_task: who makes each item.
        rerun: per task, whether it may run again.
        read_start: CSR of tasks to ``reads``.
        reads: items that each task reads.
        need: items that the unknown stage reads.
        there: items that are kept or at hand.
        again: filled with the tasks that run again.
        used: filled with the items that are read in the unknown stage.

    Returns:
        -1, or an item that is not there and that nothing can make again.

    Complexity:
        Linear in tasks and reads.
    """
    again[:] = False
    used[:] = False
    stack = np.empty(need.size, np.int64)
    top = 0
    for v in range(need.size):
        if need[v]:
            used[v] = True
            stack[top] = v
            top += 1
    while top > 0:
        top -= 1
        v = stack[top]
        task = value_task[v]
        if there[v] or again[task]:
            continue
        if not rerun[task]:
            return v
        again[task] = True
        for r in range(read_start[task], read_start[task + 1]):
            u = reads[r]
            if not used[u]:
                used[u] = True
                stack[top] = u
                top += 1
    return -1


def keeping(problem: Problem, kept: Mapping[Hashable, Choice]) -> Keeping:
    """Price a set of kept values.

    Args:
        problem: with its options already chosen.
        kept: the known values that are kept, SAVE or OFFLOAD.

    Returns:
        What it costs.

    Raises:
        InvalidDecision: naming a value that may not be kept so, that is kept without the others
            of its group, or that is missing and cannot be made again.
        InvalidProblem: a known task comes after an unknown one.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("data", seconds=1, bytes=100)
    >>> graph.add_node("factor", seconds=9, bytes=80)
    >>> graph.add_node("answer", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edges_from([("data", "factor"), ("factor", "answer")])
    >>> problem = Problem(graph, calls=10)
    >>> keeping(problem, {"factor": Choice.SAVE}).seconds, keeping(problem, {}).seconds
    (20.0, 120.0)
    """
    stages = two_stages(problem)
    compact = stages.compact
    item_of: dict[Hashable, int] = problem.cache["item_of"]
    there = stages.free.copy()
    once = per_call = 0.0
    rest = resident = 0
    how: dict[int, Choice] = {}
    for value, choice in kept.items():
        item = item_of.get(value, -1)
        if item < 0 or not compact.known[compact.value_task[item]]:
            message = f"{value!r} is kept, but it is no known value that owns memory"
            raise InvalidDecision(message, value=value)
        seconds = {
            Choice.SAVE: stages.save_seconds[item],
            Choice.OFFLOAD: stages.offload_seconds[item],
        }.get(choice, np.inf)
        if not np.isfinite(seconds):
            raise InvalidDecision(f"{value!r} may not be kept as {choice.value!r}", value=value)
        how[item] = choice
    for item, choice in how.items():
        others = np.flatnonzero((stages.tie == stages.tie[item]) & (stages.tie[item] >= 0))
        group = [value for other in {item, *others.tolist()} for value in stages.items[other]]
        missing = [value for value in group if kept.get(value) is not choice]
        if missing:
            message = f"{stages.items[item][0]!r} is kept without {missing[0]!r} of its group"
            raise InvalidDecision(f"{message}, or in another way", value=missing[0])
        there[item] = True
        rest += int(stages.rest_bytes[item])
        if choice is Choice.SAVE:
            once += float(stages.save_seconds[item])
            resident += int(stages.resident_bytes[item])
        else:
            per_call += float(stages.offload_seconds[item])
    wrong, again, used = walked(stages, there)
    if wrong >= 0:
        value = stages.items[wrong][0]
        task = compact.tasks[compact.value_task[wrong]]
        message = f"{value!r} must be kept: {task!r} may not run again"
        raise InvalidDecision(message, task=task, value=value)
    late = stages.unknown_seconds + float(compact.seconds[again].sum())
    return Keeping(
        seconds=stages.early_seconds + once + problem.calls * (late + per_call),
        early_seconds=stages.early_seconds,
        late_seconds=late,
        load_once_seconds=once,
        load_call_seconds=per_call,
        rest_bytes=rest,
        resident_bytes=resident,
        again=frozenset(compact.tasks[t] for t in np.flatnonzero(again)),
        unread=frozenset(v for item in how if not used[item] for v in stages.items[item]),
    )


def walked(
    stages: TwoStages, there: NDArray[np.bool_]
) -> tuple[int, NDArray[np.bool_], NDArray[np.bool_]]:
    """Find what runs again when only some items are there.

    Args:
        stages: the problem.
        there: per item, whether it is kept or at hand.

    Returns:
        An item that is missing and that nothing can make again, or -1; per task, whether it runs
        again; per item, whether it is read in the unknown stage.

    >>> from policies.generate import two_tasks
    >>> wrong, again, used = walked(two_stages(two_tasks()), np.zeros(2, np.bool_))
    >>> wrong, again.tolist(), used.tolist()
    (-1, [True, False], [True, False])
    """
    compact = stages.compact
    again = np.zeros(compact.n, np.bool_)
    used = np.zeros(len(stages.items), np.bool_)
    wrong = _walk(
        compact.value_task,
        compact.rerun,
        compact.read_start,
        compact.reads,
        stages.need,
        there,
        again,
        used,
    )
    return wrong, again, used


def crossing(problem: Problem, order: Sequence[Hashable]) -> dict[Hashable, Choice]:
    """Give the known values that an order reads in its unknown part from before that part.

    Args:
        problem: with its options already chosen.
        order: tasks alone, without copies.

    Returns:
        For each such value, and the others of its group, SAVE if it may stay resident, else
        OFFLOAD; what is at hand does not cross.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=8)
    >>> graph.add_node("b", seconds=1, bytes=4)
    >>> graph.add_node("c", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edges_from([("a", "c"), ("b", "c")])
    >>> list(crossing(Problem(graph), ["a", "b", "a", "c"]))
    ['b']
    """
    stages = two_stages(problem)
    compact = stages.compact
    index = {task: t for t, task in enumerate(compact.tasks)}
    runs = [index[task] for task in order]
    start = next((p for p, t in enumerate(runs) if not compact.known[t]), len(runs))
    first = {t: p for p, t in reversed(list(enumerate(runs[:start])))}
    start = max(first.values(), default=-1) + 1 if start < len(runs) else start
    late: set[int] = set()
    found = np.zeros(len(stages.items), np.bool_)
    for t in runs[start:]:
        for item in compact.reads[compact.read_start[t] : compact.read_start[t + 1]]:
            maker = int(compact.value_task[item])
            if compact.known[maker] and maker not in late and not stages.free[item]:
                found[item] = True
        late.add(t)
    for tie in set(stages.tie[found].tolist()) - {-1}:
        found |= stages.tie == tie
    saved = np.isfinite(stages.save_seconds)
    return {
        value: Choice.SAVE if saved[item] else Choice.OFFLOAD
        for item in np.flatnonzero(found)
        for value in stages.items[item]
    }


def two_stages(problem: Problem) -> TwoStages:
    """Give a problem in two stages as arrays, worked out once.

    Args:
        problem: with its options already chosen.

    Raises:
        InvalidProblem: a known task comes after an unknown one.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=8, at_hand=True)
    >>> graph.add_node("b", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edge("a", "b")
    >>> stages = two_stages(Problem(graph))
    >>> stages.items, stages.free.tolist()
    ((('a',), ('b',)), [True, False])
    """
    if "two_stages" not in problem.cache:
        problem.cache["two_stages"], problem.cache["item_of"] = _build(problem)
    return problem.cache["two_stages"]


def _build(problem: Problem) -> tuple[TwoStages, dict[Hashable, int]]:
    """Merge values into items, and price them."""
    compact, names = compact_of(problem, 0), value_names(problem)
    _check_stages(problem, compact)
    items: list[tuple[Hashable, ...]] = []
    item_of: dict[Hashable, int] = {}
    item_at = np.zeros(len(names), np.int64)
    groups: dict[tuple[int, Hashable], int] = {}
    ties: dict[Hashable, list[int]] = {}
    maker: list[int] = []
    rows: list[tuple[bool, int, int, float, float]] = []  # free, bytes, resident, save, offload
    for v, name in enumerate(names):
        task = int(compact.value_task[v])
        # an order that nothing is read for, and a view, need no memory of their own
        value = None if name is None else problem.root(name)
        own = value is not None and value.name == name
        group = value.together if value is not None and own else None
        key = (task, group)
        if group is None or key not in groups:
            groups[key] = len(items)
            ties.setdefault(group, []).append(len(items))
            items.append(())
            maker.append(task)
            rows.append((True, 0, 0, 0.0, 0.0))
        item = len(items) - 1 if group is None else groups[key]
        item_at[v] = item
        if value is None or not own:
            continue
        item_of[name] = item
        items[item] = (*items[item], name)
        save, offload = _prices(problem, compact.tasks[task], value.bytes)
        _, size, resident, saved, offloaded = rows[item]
        fast = value.bytes if value.space == "fast" else 0
        row = (size + value.bytes, resident + fast, saved + save, offloaded + offload)
        rows[item] = (value.at_hand, *row)
    made_start = np.searchsorted(np.array(maker, np.int64), np.arange(compact.n + 1))
    reads: list[int] = []
    read_start = [0]
    need = np.zeros(len(items), np.bool_)
    for t in range(compact.n):
        mine = np.unique(item_at[compact.reads[compact.read_start[t] : compact.read_start[t + 1]]])
        reads.extend(mine.tolist())
        read_start.append(len(reads))
        if not compact.known[t]:
            need[mine] = True
    owners = np.array(maker, np.int64)
    need &= compact.known[owners]
    tie = np.full(len(items), -1, np.int64)
    for number, (group, members) in enumerate(ties.items()):
        if group is not None and len(members) > 1:
            tie[members] = number
    table = np.array(rows, np.float64).reshape(len(rows), 5)
    for number in set(tie.tolist()) - {-1}:  # a group is kept in one way: none that a member bars
        barred = np.isinf(table[tie == number]).any(axis=0)
        table[np.ix_(tie == number, barred)] = np.inf
    byte = np.array([row[1:3] for row in rows], np.int64).reshape(len(rows), 2)
    stages = TwoStages(
        compact=replace(
            compact,
            made_start=made_start.astype(np.int64),
            value_bytes=byte[:, 0].copy(),
            value_task=owners,
            must_live=np.zeros(len(items), np.bool_),
            read_start=np.array(read_start, np.int64),
            reads=np.array(reads, np.int64),
        ),
        items=tuple(items),
        need=need,
        free=table[:, 0] > 0,
        rest_bytes=byte[:, 0].copy(),
        resident_bytes=byte[:, 1].copy(),
        save_seconds=table[:, 3].copy(),
        offload_seconds=table[:, 4].copy(),
        tie=tie,
        early_seconds=float(compact.seconds[compact.known].sum()),
        unknown_seconds=float(compact.seconds[~compact.known].sum()),
    )
    return stages, item_of


def _prices(problem: Problem, task: Hashable, size: int) -> tuple[float, float]:
    """Seconds to load a value once and stay, and to load it in one call."""
    allowed = problem.allowed(task)
    load = 0.0 if problem.link is None else problem.link.copy_seconds(size)
    if problem.loads == "every_call":  # nothing stays: whatever may be kept is loaded each time
        return np.inf, load if allowed - {Choice.RECOMPUTE} else np.inf
    save = 0.0 if problem.loads is None else load
    rests = Choice.OFFLOAD in allowed and problem.link is not None
    return save if Choice.SAVE in allowed else np.inf, load if rests else np.inf


def _check_stages(problem: Problem, compact: Compact) -> None:
    """Check that known tasks do not wait for unknown ones."""
    for source, target in problem.graph.edges():
        stage = [problem.graph.nodes[t].get("stage", "known") for t in (source, target)]
        if stage == ["unknown", "known"]:
            raise InvalidProblem(
                f"task {target!r} is known, but it comes after {source!r}, which is unknown"
            )
    late = np.flatnonzero(~compact.known)
    if not compact.free_order and late.size and bool(compact.known[late[0] :].any()):
        after = compact.tasks[int(late[0] + np.flatnonzero(compact.known[late[0] :])[0])]
        raise InvalidProblem(
            f"first_order puts {compact.tasks[late[0]]!r}, which is unknown, before the known "
            f"task {after!r}: leave the order free, or say how kept values are loaded (loads=...)"
        )
