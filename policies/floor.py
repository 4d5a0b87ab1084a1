"""A certified memory floor: no budget below it can ever work.

Three arguments, of which the largest counts, for every task ``t``:

- whenever ``t`` runs, what it reads and makes is alive together, with its workspace; in a fixed
  order also every value that may never be made again and that a later task reads;
- of the instances that ``t`` reads, one was made last, and while that was made the others were
  alive already;
- at the end, all values that must live are alive.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from policies.compact import Compact, compact_of, value_names
from policies.errors import Infeasible
from policies.problem import Choice, Problem

__all__ = ["Floor", "floor", "moment", "not_found", "refuse_below_floor"]


@dataclass(frozen=True, slots=True)
class Floor:
    """A lower bound on the budget and its proof.

    Attributes:
        bytes: no plan has a smaller peak; reserved bytes included.
        task: the tightest task, or None when the end of the order is.
        witness: ``(value, bytes)`` that are alive together then; workspace and reserved bytes
            stand under the names ``("workspace", task)`` and ``("reserved",)``.
    """

    bytes: int
    task: Hashable | None
    witness: tuple[tuple[Hashable, int], ...]


def floor(problem: Problem) -> Floor:
    """Give the certified memory floor of a problem, options chosen.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> for task in "abc":
    ...     graph.add_node(task, seconds=1, bytes=4)
    >>> graph.add_edges_from([("a", "b"), ("b", "c")])
    >>> floor(Problem(graph, reserved_bytes=1))
    Floor(bytes=9, task='b', witness=(('a', 4), ('b', 4), (('reserved',), 1)))
    """
    if "floor" not in problem.cache:
        problem.cache["floor"] = _floor(problem, compact_of(problem, 0))
    size, task, values = problem.cache["floor"]
    return moment(problem, size, task, values)


def moment(problem: Problem, size: int, task: int, values: tuple[int, ...]) -> Floor:
    """Name what is alive together at a moment.

    Args:
        problem: with its options chosen.
        size: bytes alive, without what is reserved.
        task: index of the task that runs, or -1 at the end of the order.
        values: their ids.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> moment(Problem(graph, reserved_bytes=1), 4, 0, (0,))
    Floor(bytes=5, task='a', witness=(('a', 4), (('reserved',), 1)))
    """
    compact, names = compact_of(problem, 0), value_names(problem)
    witness = [(names[v], int(compact.value_bytes[v])) for v in values if compact.value_bytes[v]]
    if task >= 0 and compact.workspace[task] > 0:
        witness.append((("workspace", compact.tasks[task]), int(compact.workspace[task])))
    if problem.fixed_bytes:
        witness.append((("reserved",), problem.fixed_bytes))
    return Floor(
        size + problem.fixed_bytes, compact.tasks[task] if task >= 0 else None, tuple(witness)
    )


def not_found(problem: Problem, budget_bytes: int, min_bytes: int | None = None) -> Infeasible:
    """Make the refusal of a policy that found no plan: proved if the budget is below the floor.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> not_found(Problem(graph), 3).proved, not_found(Problem(graph), 4).proved
    (True, False)
    """
    least = floor(problem)
    return Infeasible(
        budget_bytes,
        lower_bound_bytes=least.bytes,
        min_bytes=min_bytes,
        witness=least.witness,
        task=least.task,
        proved=budget_bytes < least.bytes,
    )


def refuse_below_floor(problem: Problem, budget_bytes: int) -> None:
    """Raise if no plan can fit.

    Raises:
        Infeasible: proved.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> refuse_below_floor(Problem(graph), 4)
    """
    if budget_bytes < floor(problem).bytes:
        raise not_found(problem, budget_bytes)


def _floor(problem: Problem, compact: Compact) -> tuple[int, int, tuple[int, ...]]:
    """Give bytes, task index and value ids of the tightest moment."""
    size = compact.value_bytes
    stays = np.flatnonzero(compact.must_live)
    best, where, witness = int(size[stays].sum()), -1, tuple(int(v) for v in stays)
    offload = [Choice.OFFLOAD in problem.allowed(task) for task in compact.tasks]
    offloads = problem.link is not None and any(offload)
    pinned = _pinned(compact, np.array(offload, np.bool_) & (problem.link is not None))
    alive: set[int] = set()
    for t in range(compact.n):
        for v in pinned.get(t, ()):
            alive.symmetric_difference_update({v})
        read = _reads(compact, t)
        own = set(range(compact.made_start[t], compact.made_start[t + 1]))
        together: set[int] = read | own | (alive if not compact.free_order else read)
        over = int(compact.overwrite_value[t])
        # what is taken over dies here, so it is not also pinned beyond this task
        taken = int(compact.overwrite[t]) if over >= 0 and over not in alive else 0
        here = sum(int(size[v]) for v in together) + int(compact.workspace[t]) - taken
        if here > best:
            best, where, witness = here, t, tuple(sorted(together))
        if read and not offloads:
            here, last, together = _last_made(compact, read)
            if here > best:
                best, where, witness = here, last, tuple(sorted(together))
    return best, where, witness


def _reads(compact: Compact, task: int) -> set[int]:
    part = compact.reads[compact.read_start[task] : compact.read_start[task + 1]]
    return {int(v) for v in part}


def _last_made(compact: Compact, read: set[int]) -> tuple[int, int, set[int]]:
    """Give the least bytes alive while the last of the values in ``read`` is made."""
    size = compact.value_bytes
    best: tuple[int, int, set[int]] | None = None
    for maker in sorted({int(compact.value_task[v]) for v in read}):
        own = set(range(compact.made_start[maker], compact.made_start[maker + 1]))
        together = read | own | _reads(compact, maker)
        over = int(compact.overwrite_value[maker])
        taken = int(compact.overwrite[maker]) if over >= 0 and over not in read else 0
        here = sum(int(size[v]) for v in together) + int(compact.workspace[maker]) - taken
        if best is None or here < best[0]:
            best = (here, maker, together)
    assert best is not None
    return best


def _pinned(compact: Compact, offload: np.ndarray) -> dict[int, list[int]]:
    """Give where values that are never made again begin and cease to be alive for certain.

    A value of a task that runs once is alive at every first run strictly between its making and
    its last first read; the event at ``t`` toggles it.
    """
    last = np.full(compact.value_bytes.size, -1, np.int64)
    for t in range(compact.n):
        last[compact.reads[compact.read_start[t] : compact.read_start[t + 1]]] = t
    last[compact.must_live] = compact.n
    toggles: dict[int, list[int]] = {}
    for v in range(compact.value_bytes.size):
        maker = int(compact.value_task[v])
        if compact.rerun[maker] or offload[maker] or last[v] <= maker + 1:
            continue
        toggles.setdefault(maker + 1, []).append(v)
        toggles.setdefault(int(last[v]), []).append(v)
    return toggles
