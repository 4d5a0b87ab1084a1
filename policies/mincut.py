"""The two-node min cut: which values to hold across one moment, which tasks to run again.

At the moment when task `t` runs for the first time, every value that a later task reads is either
held (it costs memory) or must be made again (it costs seconds, and so do the values that this
needs).  For a price of memory, the cheapest answer is a minimum cut: each value has a node
"available later" and each task a node "runs again"; an arc between the two costs the price of the
value's bytes, an arc from the task to the sink costs its seconds, and a task that runs again needs
the values it reads.  The cut's value minus price times budget is a certified lower bound on the
seconds of recomputation, for every price.

Source: the single-cut form for one saved set is Horace He and Shangdi Yu, "Transcending
Runtime-Memory Tradeoffs in Checkpointing by being Fusion Aware" (MLSys 2023); the two-node
network, the price of memory and its use as a bound follow our own design notes.  Newton steps on a
piecewise linear concave function: Werner Dinkelbach, "On Nonlinear Fractional Programming"
(Management Science, 1967).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.minimum_cut import minimum_cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.compact import Compact

_SCALE_BITS = 40
_INFINITE = 1 << 42


@dataclass(frozen=True, slots=True)
class Cut:
    """One minimum cut.

    Attributes:
        seconds: Recomputation of the cut, s.
        held_bytes: Weighted bytes held by the cut.
        value: A lower bound on `seconds + price * held_bytes` over all cuts, s.
        again: Per task, whether it runs again.
        held: Per value, whether it is held.
        infeasible: Whether even the best cut needs something impossible.
    """

    seconds: float
    held_bytes: float
    value: float
    again: NDArray[np.bool_]
    held: NDArray[np.bool_]
    infeasible: bool


class TwoNodeCut:
    """A network built once per graph; only its capacities change from one cut to the next.

    Args:
        problem: The compact problem; its budget is not read.

    >>> from policies.compact import Compact
    >>> from policies.mincut import TwoNodeCut
    >>> TwoNodeCut.__name__
    'TwoNodeCut'
    """

    def __init__(self, problem: Compact) -> None:
        """Build the arcs."""
        n, values = problem.n, len(problem.value_bytes)
        self._problem = problem
        reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(problem.read_start))
        source, sink = values + n, values + n + 1
        every = np.arange(values, dtype=np.int64)
        tasks = np.arange(n, dtype=np.int64)
        owner = np.asarray(problem.value_task, np.int64)
        self._tail = np.concatenate(
            [np.full(values, source), every, values + tasks, values + reader]
        )
        self._head = np.concatenate(
            [every, values + owner, np.full(n, sink), np.asarray(problem.reads, np.int64)]
        )
        self._infinite = np.full(len(problem.reads), _INFINITE, np.int64)
        total = float(problem.seconds.sum())
        self._scale = (1 << _SCALE_BITS) / total if total > 0 else 1.0
        self._seconds = np.floor(problem.seconds * self._scale).astype(np.int64)
        self._seconds[~problem.rerun] = _INFINITE
        self._natural = total / max(1.0, float(problem.value_bytes.sum()))

    def natural_price(self) -> float:
        """Return the seconds of everything over the bytes of everything, s/B: a first guess."""
        return self._natural

    def solve(
        self,
        need: NDArray[np.bool_],
        weight: NDArray[np.float64],
        price: float,
        forced: NDArray[np.bool_] | None = None,
    ) -> Cut:
        """Find the cheapest set to hold.

        Args:
            need: Per value, whether a later task reads it (or it must live to the end).
            weight: Per value, bytes that holding it takes; 0 holds it for free.
            price: Seconds per byte.
            forced: Per value, whether it must be held (its weight is then not charged).

        Returns:
            The minimum cut; `value` is rounded down, so that bounds stay valid.
        """
        problem = self._problem
        values = len(problem.value_bytes)
        hold = np.minimum(np.floor(weight * (price * self._scale)), float(_INFINITE))
        hold = hold.astype(np.int64)
        if forced is not None:
            hold[forced] = 0
        capacity = np.concatenate(
            [np.where(need, _INFINITE, 0), hold, self._seconds, self._infinite]
        )
        ends = values + problem.n, values + problem.n + 1
        inside, flow = minimum_cut(self._tail, self._head, capacity, *ends)
        again = inside[values : values + problem.n]
        held = inside[:values] & ~again[problem.value_task]
        return Cut(
            seconds=float(problem.seconds[again].sum()),
            held_bytes=float(weight[held].sum()),
            value=flow / self._scale,
            again=again,
            held=held,
            infeasible=flow >= _INFINITE,
        )


def best_price(  # noqa: PLR0917 (mathematics in one order)
    network: TwoNodeCut,
    need: NDArray[np.bool_],
    weight: NDArray[np.float64],
    capacity_bytes: float,
    start: float,
    rounds: int = 14,
) -> tuple[float, float]:
    """Maximise `cut(price) - price * capacity` over the price.

    Args:
        network: The network.
        need: Per value, whether a later task reads it.
        weight: Bytes of each value.
        capacity_bytes: Bytes into which the held values must fit.
        start: First price tried, s/B; 0 for none known.
        rounds: At most this many cuts.

    Returns:
        The bound (s) and the price (s/B) that proves it.

    Complexity:
        At most `rounds` maximum flows.
    """
    if float(weight[need].sum()) <= capacity_bytes:
        return 0.0, 0.0
    price = start if start > 0 else network.natural_price()
    low = (0.0, float(weight[need].sum()), 0.0)
    high: tuple[float, float, float] | None = None
    best, best_at = 0.0, 0.0
    for _ in range(rounds):
        cut = network.solve(need, weight, price)
        bound = cut.value - price * capacity_bytes
        if bound > best:
            best, best_at = bound, price
        if cut.held_bytes > capacity_bytes:
            low = (cut.seconds, cut.held_bytes, price)
        else:
            high = (cut.seconds, cut.held_bytes, price)
        if high is None:
            price *= 8.0
            if cut.infeasible or price > network.natural_price() * 1e12:
                break
            continue
        if low[1] <= high[1]:
            break
        crossing = (high[0] - low[0]) / (low[1] - high[1])
        if not (low[2] < crossing < high[2]) or crossing == price:
            break
        price = crossing
    return best, best_at
