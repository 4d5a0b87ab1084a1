"""A minimum cut of a network, by the maximum flow of OR-Tools."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from ortools.graph.python import max_flow

__all__ = ["minimum_cut"]


def minimum_cut(
    tail: NDArray[np.int64],
    head: NDArray[np.int64],
    capacity: NDArray[np.int64],
    source: int,
    sink: int,
) -> tuple[NDArray[np.bool_], int]:
    """Find the nodes on the side of the source, and what the arcs that leave them carry.

    Args:
        tail: of each arc.
        head: of each arc.
        capacity: of each arc.
        source: a node.
        sink: the last node.

    Raises:
        ArithmeticError: the sums of capacities are too large.

    >>> inside, value = minimum_cut(*(np.array(x) for x in ([0, 1], [1, 2], [5, 3])), 0, 2)
    >>> inside.tolist(), value
    ([True, True, False], 3)
    """
    flow = max_flow.SimpleMaxFlow()
    network: Any = flow  # its stubs ask for scalars where arrays are meant
    network.add_arcs_with_capacity(tail, head, capacity)
    status = flow.solve(source, sink)
    if status != flow.OPTIMAL:
        raise ArithmeticError(f"max-flow failed: {status}")
    inside = np.zeros(sink + 1, np.bool_)
    inside[flow.get_source_side_min_cut()] = True
    return inside, flow.optimal_flow()
