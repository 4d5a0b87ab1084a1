"""A lower bound that stays valid when values may travel to slow memory and back.

Let ``t`` be a task whose place among the first runs is certain: any task when the order of first
executions is fixed, one that every other task must precede or follow when it is free. Take any
order that the referee accepts, of length T on one call, and the clock tau at which ``t`` first
starts. Every value made before ``t`` that a later first run reads, or that must live, or that a
later second run needs in turn, is then

* in fast memory. All of these, the reads of ``t`` and its own outputs and workspace fit into the
  budget, so that the others take at most ``room`` bytes, as in ``cutbound``; or
* made again after ``t``: its task runs again, and what it reads falls under the same three cases;
  or
* fetched after ``t``. Call these X.

A value of X is not in fast memory when ``t`` starts. A fast copy only leaves once its store is
complete, and what is not in fast memory cannot be stored, so the store of every value of X was
complete by tau. Stores take turns on one stream and none can start before the first value that may
be offloaded is made, at ``first`` seconds or later (0 if the order is free). So the copies of X,
once each, take at most tau - first. Likewise all fetches of X start after the first run of ``t``
ends and, since a read waits for its fetch and the end waits for values that must live, are complete
by T: they take at most T - tau - seconds(t). Sharing one stream can only make both worse, so that
this holds with and without ``duplex``. A byte takes at least 1 / ``rate`` seconds of a copy,
latency included, ``rate`` being the best ratio of bytes to seconds of a copy among the values that
X can consist of.

Let W be the seconds that the copies of X take one way; R the seconds of the tasks that run again
after ``t``; before(t) and after(t) the seconds of the first runs before and after ``t``. Let g(M)
be the least recomputation when M bytes can be kept, which the parametric cut bounds from below by
the lines cut(price) - price M. Whatever is spent before ``t`` beyond first runs (second runs,
stalls) is some a >= 0, and after it some b >= R >= g(room + rate W), with T = all first runs + a +
b. The windows say W <= before(t) - first + a and W <= after(t) + b. Hence

    T >= all first runs + min over W >= 0 of
         max(g(room + rate W), W - after(t)) + max(0, W - before(t) + first),

and W is at most what the values that X can consist of take. The right-hand side is convex in W, and
with finitely many lines in the place of g a minimum over the crossings of lines. At W = 0 it is at
most the bound without a link, so that it is never above that one.

Nothing is assumed about how often a task runs, how often a value is copied, nor when.

Source: ours; the cut and its price are those of ``mincut``; the cutting planes follow J. E. Kelley,
"The Cutting-Plane Method for Solving Convex Programs" (1960).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.compact import Compact
from policies.cutbound import CutBounder
from policies.lifetimes import first_unknown
from policies.mincut import best_price
from policies.ordering import always_between
from policies.playback import Machine

__all__ = ["LinkBound", "link_bound", "stage_bound"]


@dataclass(frozen=True, slots=True)
class LinkBound:
    """A bound for orders with copies.

    Attributes:
        seconds: beyond every task once, of recomputation and stalls, that no order avoids.
        task: at whose first run memory is counted; -1 if the bound is 0.
        engine: what proved it.
    """

    seconds: float
    task: int
    engine: str = "min cut at one stage, less what the link can carry"


@dataclass(frozen=True, slots=True)
class _Windows:
    """What the link can do around one stage.

    Attributes:
        rate: bytes per second of copying, at best.
        most: seconds that copying everything that may be copied takes one way.
        before: seconds of first runs in which stores can be made without a stall.
        after: seconds of first runs in which fetches can be made without a stall.
    """

    rate: float
    most: float
    before: float
    after: float


def link_bound(
    machine: Machine, compact: Compact, bounder: CutBounder, most: int = 16
) -> LinkBound:
    """Give the best bound over the stages at which memory is tightest.

    Args:
        machine: the problem with its link.
        compact: the same problem, with its budget.
        bounder: its cuts.
        most: stages at which the bound is worked out; the heaviest come first.

    Returns:
        The bound, 0 if none was found.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.playback import machine_of
    >>> from policies.problem import Link, Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> for speed in (0.5, 5.0):
    ...     problem = Problem(graph, 12, Link(speed), first_order=("a", "b", "c", "d"))
    ...     compact = compact_of(problem, 12)
    ...     link_bound(machine_of(problem, compact), compact, CutBounder(compact)).seconds
    0.125
    0.0
    """
    best = LinkBound(0.0, -1)
    price = 0.0
    for task in _stages(compact, bounder, most):
        seconds, price = stage_bound(machine, compact, bounder, task, price)
        if seconds > best.seconds:
            best = LinkBound(seconds, task)
    return best


def _stages(compact: Compact, bounder: CutBounder, most: int) -> list[int]:
    """Choose the stages: those whose place is certain, the heaviest first."""
    if not compact.free_order:
        return bounder.stages(compact.budget)[:most]
    split = first_unknown(compact)
    near = [task for task in (split - 1, split) if 0 <= task < compact.n]
    return [task for task in near if always_between(compact, task)]


def stage_bound(
    machine: Machine, compact: Compact, bounder: CutBounder, task: int, price: float = 0.0
) -> tuple[float, float]:
    """Give the bound at the first run of one task, and the last price tried there.

    Complexity:
        At most 6 rounds of 8 maximum flows.
    """
    need, weight = bounder.need(task), bounder.weight(task)
    room = bounder.room(task, compact.budget)
    windows = _windows(machine, compact, task, weight)
    network = bounder.network
    lines: list[tuple[float, float]] = []
    copied = min(windows.most, windows.before)
    best = 0.0
    for _ in range(6):
        capacity = room + windows.rate * copied
        _, found = best_price(network, need, weight, capacity, price, 8)
        if found <= 0:  # everything fits: with so many copies nothing runs again
            slope, value = 0.0, 0.0
        else:
            slope, price = found, found
            value = network.solve(need, weight, found).value
        lines.append((value - slope * room, slope))
        least, at = _least(lines, windows)
        best = max(best, least)
        if abs(at - copied) <= 1e-9 * (abs(at) + abs(copied)):
            break
        copied = at
    return best, price


def _windows(
    machine: Machine, compact: Compact, task: int, weight: NDArray[np.float64]
) -> _Windows:
    """Work out what the link can do around one stage."""
    able = machine.movable & (compact.value_task < task) & (weight > 0)
    prefix = np.concatenate([[0.0], np.cumsum(compact.seconds)])
    after = float(prefix[-1] - prefix[task + 1])
    if not able.any():
        return _Windows(0.0, 0.0, float(prefix[task]), after)
    seconds = machine.copy_seconds[able]
    size = machine.value_bytes[able]
    first = 0 if compact.free_order else int(compact.value_task[able].min()) + 1
    before = max(0.0, float(prefix[task] - prefix[first]))
    return _Windows(float((size / seconds).max()), float(seconds.sum()), before, after)


def _least(lines: list[tuple[float, float]], windows: _Windows) -> tuple[float, float]:
    """Minimise the right-hand side over W with lines (value, price) in the place of g.

    It is the largest of linear functions of W plus one more such largest, so that the minimum lies
    at an end or where two of them cross.
    """
    rising = [(value, -price * windows.rate) for value, price in lines]
    rising += [(0.0, 0.0), (-windows.after, 1.0)]
    points = {0.0, windows.most, min(windows.most, windows.before)}
    for i, (value, slope) in enumerate(rising):
        for other, steep in rising[:i]:
            if steep != slope:
                points.add((value - other) / (steep - slope))
    best, at = float("inf"), 0.0
    for copied in sorted(points):
        if not 0.0 <= copied <= windows.most:
            continue
        total = max(value + slope * copied for value, slope in rising)
        total += max(0.0, copied - windows.before)
        if total < best:
            best, at = total, copied
    return best, at
