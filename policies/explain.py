"""Why a plan does what it does: every value, what became of it, and what that cost.

Memory has a price at the moments that bind: seconds per byte, found by asking what a slightly
larger budget would save, or else from the dearest recomputation that the plan pays per byte.
A value is held when holding it is cheaper at that price than making it again, and the other way
round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from policies.compact import Compact, compact_of, value_names
from policies.decision import Choice, Decision, Fetch, Free, Store
from policies.evaluate import evaluate
from policies.problem import Problem
from policies.streams import stalls
from policies.units import format_bytes, format_seconds

__all__ = ["Explanation", "Story", "explain"]


@dataclass(frozen=True, slots=True)
class Story:
    """What became of one value.

    Attributes:
        value: its name.
        task: who makes it.
        bytes: its size.
        choice: saved, recomputed or offloaded (one that is also recomputed is offloaded).
        runs: how often its task ran.
        positions: of the order at which its task ran.
        stored: positions of the order at which it is copied to slow memory.
        fetched: positions at which it is fetched back.
        extra_seconds: of the runs beyond the first.
        stall_seconds: that the order waits for its copies.
        seconds_per_byte: what making it once more costs, with what had to run again for it.
        held_over_peak: True if it is alive at the peak.
        reason: in words.
    """

    value: Hashable
    task: Hashable
    bytes: int
    choice: Choice
    runs: int
    positions: tuple[int, ...]
    stored: tuple[int, ...]
    fetched: tuple[int, ...]
    extra_seconds: float
    stall_seconds: float
    seconds_per_byte: float
    held_over_peak: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan, told value by value.

    Attributes:
        stories: one per value that owns memory, the dearest first.
        price: seconds per byte at the peak: what one byte more is worth there.
        gib_seconds: what one more GiB would save at that price, at most the plan's overhead.
    """

    stories: tuple[Story, ...]
    price: float
    gib_seconds: float

    def __str__(self) -> str:
        """One line per value."""
        head = f"memory is worth {format_seconds(self.price * 2**30)} per GiB at the peak"
        head += f"; one more GiB would save about {format_seconds(self.gib_seconds)}"
        lines = [head]
        lines += [f"{story.value}: {story.reason}" for story in self.stories]
        return "\n".join(lines)


def explain(problem: Problem, decision: Decision, price: float | None = None) -> Explanation:
    """Tell for every value what became of it and why.

    Args:
        problem: what was planned.
        decision: the plan.
        price: seconds per byte, if it is known from a bound's dual; else it is taken from the plan:
            the most seconds per byte that the plan pays for a recomputation over its peak.

    Returns:
        The explanation.

    Raises:
        InvalidDecision: the plan cannot be run.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> from policies.solve import solve
    >>> problem = Problem(graph, budget=12, first_order=tuple("abcd"))
    >>> found = explain(problem, solve(problem, "exhaustive"))
    >>> found.stories[0].value, found.stories[0].runs, found.price
    ('a', 2, 0.25)
    >>> print(found.stories[0].reason)
    run 2 times, at 0, 3: 1.00 s more for 4 B, 250.0 ms per byte
    """
    if problem.options:
        problem = problem.choose(decision.options)
    result = evaluate(problem, decision.order)
    compact, names = compact_of(problem, 0), value_names(problem)
    index = {task: t for t, task in enumerate(compact.tasks)}
    positions: dict[int, list[int]] = defaultdict(list)
    stored: dict[Hashable, list[int]] = defaultdict(list)
    fetched: dict[Hashable, list[int]] = defaultdict(list)
    for position, event in enumerate(decision.order):
        if isinstance(event, Store):
            stored[event.value].append(position)
        elif isinstance(event, Fetch):
            fetched[event.value].append(position)
        elif not isinstance(event, Free):
            positions[index[event]].append(position)
    waited = stalls(problem, decision.order) if stored else {}
    alive = {name for name, _ in result.live}
    rate = _rates(compact, positions)
    paid = [rate[t] for t in positions if len(positions[t]) > 1 and np.isfinite(rate[t])]
    worth = price if price is not None else max(paid, default=0.0)
    stories: list[Story] = []
    for v, name in enumerate(names):
        size = int(compact.value_bytes[v])
        t = int(compact.value_task[v])
        if name is None or size == 0:
            continue
        task = compact.tasks[t]
        runs = len(positions[t])
        choice = Choice.OFFLOAD if name in stored else decision.choice.get(task, Choice.SAVE)
        if name not in stored and choice is Choice.OFFLOAD:
            choice = Choice.SAVE
        extra = (runs - 1) * float(compact.seconds[t])
        stall = waited.get(name, 0.0)
        if choice is Choice.OFFLOAD:
            reason = _copied(problem, size, stored[name], fetched[name], stall)
        else:
            reason = _reason(compact, t, size, positions[t], rate[t], worth, name in alive)
        story = Story(
            name, task, size, choice, runs, tuple(positions[t]), tuple(stored.get(name, ())),
            tuple(fetched.get(name, ())), extra, stall, rate[t], name in alive, reason,
        )  # fmt: skip
        stories.append(story)
    stories.sort(key=lambda story: (-story.extra_seconds - story.stall_seconds, -story.bytes))
    over = max(0.0, decision.seconds - decision.baseline_seconds)
    return Explanation(tuple(stories), worth, min(over, worth * 2**30))


def _rates(compact: Compact, positions: dict[int, list[int]]) -> list[float]:
    """Give for each task the seconds per byte of making it once more.

    What the plan also ran again for it counts too: the recomputed tasks that it reads.
    """
    cost = [float(s) for s in compact.seconds]
    rates: list[float] = []
    for t in range(compact.n):
        for v in compact.reads[compact.read_start[t] : compact.read_start[t + 1]]:
            u = int(compact.value_task[v])
            if len(positions[u]) > 1 and len(positions[u]) >= len(positions[t]) > 1:
                # shared with its other recomputed readers: counted once per reader at most
                cost[t] += cost[u] / max(1, _recomputed_readers(compact, positions, u))
        size = int(compact.value_bytes[compact.made_start[t] : compact.made_start[t + 1]].sum())
        rates.append(cost[t] / size if size else float("inf"))
    return rates


def _recomputed_readers(compact: Compact, positions: dict[int, list[int]], task: int) -> int:
    low, high = int(compact.made_start[task]), int(compact.made_start[task + 1])
    count = 0
    for t in range(task + 1, compact.n):
        read = compact.reads[compact.read_start[t] : compact.read_start[t + 1]]
        if len(positions[t]) > 1 and bool(((read >= low) & (read < high)).any()):
            count += 1
    return count


def _copied(
    problem: Problem, size: int, stored: list[int], fetched: list[int], stall: float
) -> str:
    """Say in words where a value went to slow memory and back, and what that cost."""
    assert problem.link is not None
    out = f"stored at {', '.join(map(str, stored))}"
    back = f"fetched at {', '.join(map(str, fetched))}" if fetched else "never fetched"
    each = f"{format_seconds(problem.link.copy_seconds(size))} of the link each way"
    cost = f"{format_seconds(stall)} of waiting" if stall > 0 else "no waiting"
    return f"offloaded: {out}, {back}: {format_bytes(size)}, {each}, {cost}"


def _reason(  # noqa: PLR0917
    compact: Compact,
    task: int,
    size: int,
    positions: list[int],
    rate: float,
    worth: float,
    over_peak: bool,
) -> str:
    """Say in words why the value was treated so."""
    per_byte = f"{format_seconds(rate)} per byte"
    if len(positions) > 1:
        extra = (len(positions) - 1) * float(compact.seconds[task])
        where = ", ".join(str(position) for position in positions[:6])
        more = ", …" if len(positions) > 6 else ""
        start = f"run {len(positions)} times, at {where}{more}"
        return f"{start}: {format_seconds(extra)} more for {format_bytes(size)}, {per_byte}"
    if not compact.rerun[task]:
        return "saved: it may not be made again"
    if not over_peak:
        return f"saved: it is not alive at the peak, where {format_bytes(size)} would count"
    if rate >= worth:
        return f"saved: {per_byte} to make again, memory is worth {format_seconds(worth)} there"
    return f"saved: {per_byte} to make again, but what it is made from is not there any more"
