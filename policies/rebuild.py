"""One choice per task, written out as an order.

From a split position on, the values of tasks that were not kept are made again just before the
first task that misses them, in the first order, together with whatever that needs; they are then
held until their last read.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.compact import Compact
from policies.evaluate import memory_profile, simulate

__all__ = ["kept_always", "made_bytes", "price", "rebuild", "split_position"]


@njit(cache=True)
def _rebuild(
    value_task: NDArray[np.int64],
    read_start: NDArray[np.int64],
    reads: NDArray[np.int64],
    keep: NDArray[np.bool_],
    split: int,
) -> NDArray[np.int64]:
    """Write out the order; ``keep`` is True for every task that may not run again."""
    n = keep.size
    order = np.empty(2 * n, np.int64)
    length = split
    order[:split] = np.arange(split)
    there = np.ones(n, np.bool_)
    there[:split] = keep[:split]
    queue = np.empty(n, np.int64)
    for late in range(split, n):
        head = tail = 0
        for r in range(read_start[late], read_start[late + 1]):
            u = value_task[reads[r]]
            if not there[u]:
                there[u] = True
                queue[tail] = u
                tail += 1
        while head < tail:
            t = queue[head]
            head += 1
            for r in range(read_start[t], read_start[t + 1]):
                u = value_task[reads[r]]
                if not there[u]:
                    there[u] = True
                    queue[tail] = u
                    tail += 1
        order[length : length + tail] = np.sort(queue[:tail])
        length += tail
        order[length] = late
        length += 1
    return order[:length]


def kept_always(compact: Compact) -> NDArray[np.bool_]:
    """Tell which tasks every policy must keep: those that may not run again.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4, effects=True)
    >>> kept_always(compact_of(Problem(graph), 0)).tolist()
    [True]
    """
    return ~compact.rerun


def split_position(compact: Compact) -> int:
    """Give the first unknown task or, if there is none, the position of the save-all peak.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=1, bytes=4, stage="unknown")
    >>> graph.add_edge("a", "b")
    >>> split_position(compact_of(Problem(graph), 0))
    1
    """
    unknown = np.flatnonzero(~compact.known)
    if unknown.size:
        return int(unknown[0])
    if compact.n == 0:
        return 0
    return int(np.argmax(memory_profile(compact, np.arange(compact.n, dtype=np.int64))))


def made_bytes(compact: Compact) -> NDArray[np.int64]:
    """Give the bytes of all values of each task.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> made_bytes(compact_of(Problem(graph), 0)).tolist()
    [4]
    """
    before = np.zeros(compact.value_bytes.size + 1, np.int64)
    np.cumsum(compact.value_bytes, out=before[1:])
    return before[compact.made_start[1:]] - before[compact.made_start[:-1]]


def rebuild(
    compact: Compact, keep: NDArray[np.bool_], split: int | None = None
) -> NDArray[np.int64]:
    """Write out the order in which tasks that are not kept run again after the split.

    Args:
        compact: the problem.
        keep: bool[n]; False makes the values of a task again when they are next read.  Tasks that
            may not run again are kept whatever it says, and tasks that may not be held are not.
        split: a position of the first order; None for ``split_position``.

    Returns:
        Task indices; at most one recomputation per task.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> for task in "abcd":
    ...     graph.add_node(task, seconds=1, bytes=4)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    >>> compact = compact_of(Problem(graph), 0)
    >>> rebuild(compact, np.zeros(4, bool), 3).tolist()
    [0, 1, 2, 0, 1, 2, 3]
    """
    kept = (keep & compact.hold) | kept_always(compact)
    at = split_position(compact) if split is None else split
    return _rebuild(compact.value_task, compact.read_start, compact.reads, kept, at)


def price(compact: Compact, sequence: NDArray[np.int64]) -> tuple[int, float, int]:
    """Give peak bytes, seconds and the position of the peak of a sequence.

    Raises:
        InvalidDecision: the sequence cannot be run.

    >>> import networkx as nx
    >>> from policies.compact import compact_of
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> price(compact_of(Problem(graph), 0), np.array([0]))
    (4, 1.0, 0)
    """
    outcome = simulate(compact, sequence)
    return outcome.peak, outcome.seconds, outcome.argmax
