"""A certified memory floor from how values come to be alive together.

Take what a task reads, and go back in time to the run that made the last of it: then the others
were alive already, together with what that run read.  So every way in which a set of values came to
be alive is a path of such steps back to nothing, and no plan has a smaller peak than the path whose
largest moment is smallest.  It is found as a shortest path is, with maxima instead of sums.

Source: going back over sets of pebbled nodes is how pebble games are searched: Sethi, "Complete
Register Allocation Problems" (SIAM Journal on Computing, 1975); for shortest paths with maxima see
Pollack, "The maximum capacity through a network" (Operations Research, 1960).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from policies.compact import Compact, compact_of
from policies.floor import Floor, floor, moment
from policies.offload import can_offload
from policies.problem import Problem

__all__ = ["pebbling_floor"]

SMALL = 0.01
"""Values of less than this part of the simple floor are taken as always there, at no cost."""

SETS_PER_TASK = 400
"""Sets that are looked at for one task; the bound holds wherever the search is cut off."""

SETS = 8_000
"""Sets that are looked at for all tasks together."""


def pebbling_floor(problem: Problem) -> Floor:
    """Give a floor that is never below `floor`'s and often above it; it takes about a second.

    Where values can be moved to slow memory, it is `floor`'s.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task, size in zip("rpxsqyt", (4, 1, 1, 4, 1, 1, 1)):
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from(zip("rpxsqy", "pxtqyt"))
    >>> floor(Problem(graph)).bytes, pebbling_floor(Problem(graph)).bytes
    (5, 6)
    """
    simple = floor(problem)
    if can_offload(problem):
        return simple
    if "pebbling" not in problem.cache:
        least = simple.bytes - problem.fixed_bytes
        problem.cache["pebbling"] = _Regression(compact_of(problem, 0), least).highest()
    size, task, values = problem.cache["pebbling"]
    return simple if task < 0 else moment(problem, size, task, values)


@dataclass(frozen=True, slots=True)
class _Step:
    """How a set of values came to be alive.

    Attributes:
        alive: the values before the run.
        bytes: the largest moment from this run on.
        task: of that moment.
        together: the values that are alive in it.
        after: the step that comes next in time.
    """

    alive: frozenset[int]
    bytes: int
    task: int
    together: frozenset[int]
    after: _Step | None


class _Regression:
    """The search back from what each task reads to nothing."""

    def __init__(self, compact: Compact, least: int) -> None:
        """Start with a floor that is known."""
        self.least = least
        size = compact.value_bytes
        self.size: dict[int, int] = {
            v: int(size[v]) for v in np.flatnonzero(size > max(0, SMALL * least)).tolist()
        }
        self.maker: dict[int, int] = {v: int(compact.value_task[v]) for v in self.size}
        bounds = zip(compact.read_start[:-1], compact.read_start[1:], strict=True)
        self.reads = [self._large(compact.reads[a:b].tolist()) for a, b in bounds]
        bounds = zip(compact.made_start[:-1], compact.made_start[1:], strict=True)
        self.made = [self._large(range(a, b)) for a, b in bounds]
        self.workspace: list[int] = compact.workspace.tolist()
        self.taken: list[int] = compact.overwrite.tolist()
        self.taken_value: list[int] = compact.overwrite_value.tolist()
        self.within: set[frozenset[int]] = {frozenset()}
        """Sets that can come to be alive within the floor."""

    def _large(self, values: range | list[int]) -> frozenset[int]:
        return frozenset(v for v in values if v in self.size)

    def highest(self) -> tuple[int, int, tuple[int, ...]]:
        """Raise the floor; give bytes, task and values of its moment, or the task -1."""
        where, witness, left = -1, frozenset[int](), SETS
        read = [(-sum(self.size[v] for v in r), t) for t, r in enumerate(self.reads) if r]
        for _, task in sorted(read):
            if left <= 0:
                break
            last, looked, ended = self._back(task)
            left -= looked
            if last.bytes > self.least:
                self.least, where, witness = last.bytes, last.task, last.together
            elif ended:
                step: _Step | None = last
                while step is not None:
                    self.within.add(step.alive)
                    step = step.after
        return self.least, where, tuple(sorted(witness))

    def _back(self, task: int) -> tuple[_Step, int, bool]:
        """Go back from what a task reads, over sets with the smallest moments first.

        Returns:
            The last step looked at, whose moment no way of running the task avoids; how many sets
            were looked at; and whether the search came to its end.
        """
        first = _Step(self.reads[task], self.least, -1, frozenset(), None)
        heap = [(first.bytes, len(first.alive), 0, first)]
        seen: list[frozenset[int]] = []
        count = 0
        while True:
            size, _, _, step = heapq.heappop(heap)
            alive = step.alive
            ended = not alive or (size <= self.least and alive in self.within)
            if ended or len(seen) >= SETS_PER_TASK:
                return step, len(seen), ended
            # whatever makes a set makes its subsets, and those came with smaller moments
            if any(map(alive.issuperset, seen)):
                continue
            seen.append(alive)
            for before in self._made_last(step):
                count += 1
                heapq.heappush(heap, (before.bytes, len(before.alive), count, before))

    def _made_last(self, step: _Step) -> list[_Step]:
        """The steps before this one: for each value, as if it had been made last."""
        alive = step.alive
        found: list[_Step] = []
        for task in sorted({self.maker[v] for v in alive}):
            together = alive | self.made[task] | self.reads[task]
            here = sum(self.size[v] for v in together) + self.workspace[task]
            over = self.taken_value[task]
            if over >= 0 and over not in alive:
                here -= self.taken[task]
            before = (alive - self.made[task]) | self.reads[task]
            if here > step.bytes:
                found.append(_Step(before, here, task, together, step))
                continue
            one = _Step(before, step.bytes, step.task, step.together, step)
            if before < alive:  # nothing is better than this
                return [one]
            found.append(one)
        return found
