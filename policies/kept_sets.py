"""What to keep between two stages as a byte gets dearer: one set for each price."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import compress
from typing import TYPE_CHECKING

from policies.closure_cut import ClosureCut, hull
from policies.keeping import two_stages

if TYPE_CHECKING:
    from policies.problem import Problem

__all__ = ["worth_keeping"]


def worth_keeping(problem: Problem, most: int) -> list[frozenset[Hashable]]:
    """Give sets of values that are the cheapest to keep at some price of a byte.

    Args:
        problem: in two stages.
        most: sets.

    Returns:
        From few bytes to many; the last one takes the least time. None if nothing is possible.

    >>> from policies.generate import two_tasks
    >>> worth_keeping(two_tasks(), 4)
    [frozenset(), frozenset({'a'})]
    """
    stages = two_stages(problem)
    corners = hull(ClosureCut(stages, problem.calls), most)
    return [frozenset(v for item in compress(stages.items, c.kept) for v in item) for c in corners]
