"""Which values to keep at a price of bytes: a minimum cut, and the curve that all prices trace.

Each known item has a node "read in the unknown stage" and each known task a node "runs again".  An
arc from item to maker costs what keeping the item costs: it is cut when the item is read and its
maker does not run.  An arc from a task to the sink costs the seconds that it takes in all calls.
A task that runs again reads its own inputs.  So the cheapest kept set is a minimum cut, exactly.
With a price on bytes the cut less price times budget is a lower bound, the best of which is that of
the linear relaxation; the cuts of all prices are the corners of the lower convex hull of seconds
against bytes.

Source: project selection as a cut: J.-C. Picard, "Maximal Closure of a Graph and Applications to
Combinatorial Problems" (1976).  Lines that meet give the next price: M. Eisner and D. Severance,
"Mathematical Techniques for Efficient Record Segmentation in Large Shared Databases" (1976).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.keeping import TwoStages, walked
from policies.minimum_cut import minimum_cut

__all__ = ["ClosureCut", "Corner", "hull"]

_BITS = 40
_DEAR = 1 << 43
_HARD = 1 << 48

LARGEST_SCALE = 1e300
"""Units per second, however short all seconds are."""


@dataclass(frozen=True, eq=False)
class Corner:
    """A kept set that is the cheapest at some price.

    Attributes:
        seconds: of loads and of known tasks that run again, in all calls.
        rest_bytes: of all kept items.
        resident_bytes: of those that stay resident.
        bound_seconds: no kept set has less ``seconds + price * bytes``.
        kept: per item, whether it is kept.
        saved: per item, whether it is kept resident.
        feasible: False if something is missing that nothing can make again.
    """

    seconds: float
    rest_bytes: int
    resident_bytes: int
    bound_seconds: float
    kept: NDArray[np.bool_]
    saved: NDArray[np.bool_]
    feasible: bool


class ClosureCut:
    """The network of a problem in two stages; only its capacities change with prices.

    Items that several tasks must keep all or none are priced one by one: a bound stays a bound.

    Args:
        stages: the problem.
        calls: how often the unknown stage runs.

    >>> from policies.generate import two_tasks
    >>> from policies.keeping import two_stages
    >>> cut = ClosureCut(two_stages(two_tasks()), calls=2)
    >>> cut.solve(0.5).seconds, cut.solve(1.0).seconds
    (0.0, 6.0)
    """

    def __init__(self, stages: TwoStages, calls: float) -> None:
        """Build the arcs."""
        self.stages, self.calls = stages, calls
        compact = stages.compact
        self.save = stages.save_seconds
        self.offload = calls * stages.offload_seconds
        self.again_seconds = calls * compact.seconds
        _, self.stays = self.price(0.0, 0.0)
        base = np.minimum(self.save, self.offload)
        base = np.where(np.isfinite(base) & ~stages.free, base, 0.0)
        known = compact.known
        total = float(self.again_seconds[known].sum() + base[known[compact.value_task]].sum())
        needs = int(stages.need.sum())
        bits = _BITS - max(0, needs.bit_length() - 14)
        self._scale = min((1 << bits) / total, LARGEST_SCALE) if total > 0 else 1.0
        n, count = compact.n, len(stages.items)
        source, sink = count + n, count + n + 1
        items = np.flatnonzero(known[compact.value_task])
        tasks = np.flatnonzero(known)
        reader = np.repeat(np.arange(n, dtype=np.int64), np.diff(compact.read_start))
        inner = known[reader]
        needed = np.flatnonzero(stages.need)
        self._items = items
        self._tail = np.concatenate(
            [np.full(len(needed), source), items, count + tasks, count + reader[inner]]
        )
        self._head = np.concatenate(
            [
                needed,
                count + compact.value_task[items],
                np.full(len(tasks), sink),
                compact.reads[inner],
            ]
        )
        work = np.floor(self.again_seconds[tasks] * self._scale).astype(np.int64)
        work[~compact.rerun[tasks]] = _HARD
        self._fixed = np.full(len(needed), _HARD, np.int64), work, np.full(inner.sum(), _HARD)
        self._sink = sink

    def price(self, rest: float, resident: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Give what keeping each item costs at prices of bytes (s/B), and whether to stay resident.

        Of a group each item is priced for itself, but all stay or none.
        """
        stages = self.stages
        save = self.save + rest * stages.rest_bytes + resident * stages.resident_bytes
        offload = self.offload + rest * stages.rest_bytes
        stays = save <= offload
        for number in np.unique(stages.tie[stages.tie >= 0]):
            group = stages.tie == number
            stays[group] = save[group].sum() <= offload[group].sum()
        return np.minimum(save, offload), stays

    def solve(self, rest: float = 0.0, resident: float = 0.0) -> Corner:
        """Find the cheapest kept set.

        Args:
            rest: price of a byte that is kept, s/B.
            resident: price of a byte that stays resident, s/B.
        """
        price, stays = self.price(rest, resident)
        price[self.stages.free] = 0.0
        hold = np.minimum(np.floor(price[self._items] * self._scale), float(_DEAR))
        kept, flow = self._cut(hold.astype(np.int64), self._fixed[1])
        return self.corner(kept, stays, flow / self._scale)

    def fewest(self, weight: NDArray[np.int64]) -> tuple[Corner, int]:
        """Find a kept set of the least weight, whatever seconds that costs.

        Args:
            weight: of keeping each item, its bytes for example; an item of no weight stays resident
                only if it may not rest elsewhere.

        Returns:
            The kept set, and a weight that no kept set is below.
        """
        stages = self.stages
        shift = max(0, int(weight.sum()).bit_length() - 46)
        hold = np.where(stages.keepable, weight >> shift, _DEAR * 8)
        hold[stages.free] = 0
        work = np.where(self._fixed[1] == _HARD, _HARD, 0)
        kept, flow = self._cut(hold[self._items], work)
        stays = np.where(weight > 0, self.stays, ~np.isfinite(self.offload))
        return self.corner(kept, stays), flow << shift

    def _cut(
        self, hold: NDArray[np.int64], work: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], int]:
        """Give the items that a minimum cut keeps, and its value."""
        stages = self.stages
        compact = stages.compact
        needs, _, reads = self._fixed
        capacity = np.concatenate([needs, hold, work, reads])
        ends = self._sink - 1, self._sink
        inside, flow = minimum_cut(self._tail, self._head, capacity, *ends)
        count = len(stages.items)
        again = inside[count : count + compact.n]
        kept = inside[:count] & ~again[compact.value_task] & ~stages.free
        return kept, flow

    def corner(
        self, kept: NDArray[np.bool_], stays: NDArray[np.bool_], bound: float = 0.0
    ) -> Corner:
        """Price a kept set; what no call reads is dropped unless others of its group are read.

        Args:
            kept: per item.
            stays: per item, whether it stays resident if it is kept.
            bound: for the record.
        """
        stages = self.stages
        wrong, again, used = self._walk(kept)
        kept = self.tied(kept & used)
        saved = kept & stays
        away = kept & ~saved
        load = float(self.save[saved].sum() + self.offload[away].sum())
        return Corner(
            seconds=load + float(self.again_seconds[again].sum()),
            rest_bytes=int(stages.rest_bytes[kept].sum()),
            resident_bytes=int(stages.resident_bytes[saved].sum()),
            bound_seconds=bound,
            kept=kept,
            saved=saved,
            feasible=wrong < 0 and bool(stages.keepable[kept].all()),
        )

    def running(self, corner: Corner) -> list[int]:
        """Give the tasks that run again in every call."""
        return np.flatnonzero(self._walk(corner.kept)[1]).tolist()

    def reads(self, corner: Corner) -> NDArray[np.bool_]:
        """Tell per item if it is read in the unknown stage."""
        return self._walk(corner.kept)[2]

    def without(self, corner: Corner, task: int) -> Corner:
        """Give a kept set with whatever is read of one task kept as well."""
        _, _, used = self._walk(corner.kept)
        mine = (self.stages.compact.value_task == task) & used & ~self.stages.free
        stays = np.where(corner.kept, corner.saved, self.stays)
        return self.corner(corner.kept | mine, stays)

    def _walk(self, kept: NDArray[np.bool_]) -> tuple[int, NDArray[np.bool_], NDArray[np.bool_]]:
        """What cannot be made (or -1), which tasks run again, and which items are read."""
        return walked(self.stages, kept | self.stages.free)

    def tied(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Give a kept set with the rest of every group that it touches."""
        tie = self.stages.tie
        groups = np.unique(tie[kept & (tie >= 0)])
        return kept | np.isin(tie, groups) if groups.size else kept


def hull(cut: ClosureCut, most: int = 64) -> tuple[Corner, ...]:
    """Give corners of the lower convex hull of seconds against kept bytes, the fewest bytes first.

    Args:
        cut: the network.
        most: stop after so many cuts; the widest stretches are split first.

    Returns:
        Feasible corners of falling seconds and rising bytes; none if nothing is feasible.

    Complexity:
        At most ``most`` maximum flows.

    >>> from policies.generate import two_tasks
    >>> from policies.keeping import two_stages
    >>> [(c.rest_bytes, c.seconds) for c in hull(ClosureCut(two_stages(two_tasks()), 2))]
    [(0, 6.0), (8, 0.0)]
    """
    right = cut.solve()
    if not right.feasible:
        return ()
    left, _ = cut.fewest(cut.stages.rest_bytes)
    if not left.feasible or left.rest_bytes >= right.rest_bytes:
        return (right,)
    corners = [left, right]
    open_ = [(left, right)]
    for _ in range(most - 2):
        if not open_:
            break
        place = max(range(len(open_)), key=lambda i: _area(*open_[i]))
        low, high = open_.pop(place)
        price = (low.seconds - high.seconds) / (high.rest_bytes - low.rest_bytes)
        middle = cut.solve(price)
        line = low.seconds + price * low.rest_bytes
        below = middle.seconds + price * middle.rest_bytes < line * (1 - 1e-9)
        if middle.feasible and below and low.rest_bytes < middle.rest_bytes < high.rest_bytes:
            corners.append(middle)
            open_ += [(low, middle), (middle, high)]
    return tuple(sorted(corners, key=lambda corner: corner.rest_bytes))


def _area(low: Corner, high: Corner) -> float:
    return (low.seconds - high.seconds) * (high.rest_bytes - low.rest_bytes)
