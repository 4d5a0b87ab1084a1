"""Local search over recomputations and offloads at once.

What a link is worth grows with time: by the moment at which memory is tightest, it has carried so
many bytes, and a plan for a budget enlarged by them fits if just those are gone by then. So the
search makes plans of recomputation alone for enlarged budgets, covers what is over the real budget
with copies, the values made earliest first since their stores are complete first, and looks by
bisection for the largest budget that can be covered. Then two searches take turns: the local search
over recomputations, in the memory that the copies leave, and more copies, while the link has room
for them. At last both kinds of choice are annealed together, with the clock of ``playback`` as the
judge of every move. A stall is allowed where it costs less than what it saves.

Source: ours; trading recomputation and transfer in one search follows Beaumont, Eyraud-Dubois and
Shilova, "Efficient Combination of Rematerialization and Offloading for Training DNNs" (NeurIPS
2021); annealing as in ``recompute_sets``.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.compact import Compact
from policies.cutbound import CutBounder
from policies.cutgrid import CutGrid
from policies.errors import InvalidDecision
from policies.evaluate import simulate
from policies.lifetimes import locks, to_pairs
from policies.mincut import best_price
from policies.playback import Machine
from policies.policy import Limits
from policies.recompute_sets import SetSearch
from policies.transfers import Arranged, arrange

__all__ = ["TransferSearch"]

Rows = NDArray[np.int64]
NOTHING = np.zeros((0, 2), np.int64)
LEFT_ALONE = (0.0, 0.2, 0.4)
"""Parts of all bytes, those of the values that lose most to latency, not to offload: in turn."""

CALMEST = 0.004
"""Last temperature of an annealing, in mean seconds of a task."""


class TransferSearch:
    """A search that keeps the best plan with copies; it can be read at any moment.

    Args:
        machine: the problem with its link, its order fixed.
        compact: the same problem.
        bounder: cuts of the same problem.
        limits: when to stop.
        tell: is called with the seconds and the peak of each plan that is the best so far.
        enough: seconds that no plan can be below.
    """

    def __init__(  # noqa: PLR0917
        self,
        machine: Machine,
        compact: Compact,
        bounder: CutBounder,
        limits: Limits,
        tell: Callable[[float, int], None],
        enough: float = 0.0,
    ) -> None:
        self.machine = machine
        self.compact = compact
        self.limits = limits
        self.best: Arranged | None = None
        self.seconds = float("inf")
        self.pairs, self.marks = NOTHING, NOTHING
        self.work = 0.0
        self._bounder = bounder
        self._tell = tell
        self._began = time.perf_counter()
        self._random = random.Random(limits.seed)  # noqa: S311 (not for secrets)
        self._price = 0.0
        self._locks = locks(compact)
        self._rate = machine.value_bytes / np.maximum(machine.copy_seconds, 1e-300)
        self._levels = _levels(self._rate[machine.movable], machine.value_bytes[machine.movable])
        self._least = max(enough, float(compact.seconds.sum()))
        mean = float(compact.seconds.mean()) if compact.n else 0.0
        self._unit = mean if mean > 0 else 1.0

    def left(self) -> float:
        """Return the work (or, with a time limit, the milliseconds) left."""
        if self.limits.time_seconds is None:
            return self.limits.work - self.work
        # what comes after the search, above all the referee, takes time too
        usable = 0.95 * self.limits.time_seconds - 1.5e-4 * self.compact.n
        return 1000.0 * (usable - (time.perf_counter() - self._began))

    def run(self, sequence: NDArray[np.int64] | None) -> None:
        """Search until the limits are reached or nothing gets better.

        Args:
            sequence: a plan without copies, as task indices, to start from.
        """
        if sequence is None:
            self._cover(self._recompute(self.machine.budget), NOTHING)
        else:
            self._price_of(to_pairs(self.compact.n, sequence), NOTHING)
        self._enlarge()
        if self.best is not None:
            while self._improves(self._alternate) and self.left() > 0:
                pass
        stale = 0
        for heat in itertools.cycle((0.3, 1.0, 0.1, 3.0)):
            patient = self.limits.time_seconds is not None or stale < 3
            if self.best is None or self.left() <= 0 or self._done() or not patient:
                break
            stale = 0 if self._improves(lambda heat=heat: self._anneal(heat)) else stale + 1

    def _done(self) -> bool:
        return self.machine.calls == 1 and self.seconds <= self._least * (1 + 1e-9)

    def _improves(self, step: Callable[[], None]) -> bool:
        before = self.seconds
        step()
        return self.seconds < before * (1 - 1e-5)

    def _price_of(self, pairs: Rows, marks: Rows, *, wait: bool = True) -> Arranged:
        """Price a plan and keep it if it fits and is the best."""
        found = arrange(self.machine, pairs, marks, wait=wait)
        self.work += 0.1 + 3e-4 * len(found.run)
        better = found.played.excess == 0 and found.played.seconds < self.seconds * (1 - 1e-12)
        if better and self._allowed(found):
            self.best, self.seconds = found, found.played.seconds
            self.pairs, self.marks = pairs, _effective(found)
            self._tell(self.seconds, found.played.peak)
        return found

    def _allowed(self, found: Arranged) -> bool:
        """Tell whether nothing is held that may not be: copies change nothing about that."""
        if self.compact.hold.all():
            return True
        try:
            simulate(self.compact, found.run)
        except InvalidDecision:
            return False
        return True

    # enlarged budgets

    def _enlarge(self) -> None:
        """Find the largest budget whose plan of recomputation alone can be covered by copies."""
        most = int(self._bounder.moments.baseline.max(initial=0))
        self._cover(self._recompute(most), NOTHING)
        low, high = self.machine.budget, most
        cost = 0.0
        for _ in range(7):
            if self._done() or (self.left() < cost and self.best is not None) or high - low < 2:
                break
            middle = (low + high) // 2
            before = self.left()
            pairs = self._recompute(middle)
            cost = before - self.left()
            if pairs is not None and self._cover(pairs, NOTHING):
                low = middle
            else:
                high = middle

    def _recompute(self, budget: int) -> Rows | None:
        """Make a plan of recomputation alone for another budget; None if none is found."""
        bounder, compact = self._bounder, replace(self.compact, budget=budget)
        baseline = bounder.moments.baseline
        stage = int(np.argmax(baseline)) if compact.n else 0
        natural = bounder.network.natural_price()
        _, price = best_price(
            bounder.network,
            bounder.need(stage),
            bounder.weight(stage),
            bounder.room(stage, budget),
            self._price,
        )
        self._price = price if price > 0 else self._price
        search = SetSearch(
            compact, baseline, self.limits.seed, 3.0 * (price or natural), self.machine.calls
        )
        search.start(NOTHING)
        self.work += 0.02 * compact.n
        if search.best_seconds == 0:
            return search.best_pairs()
        grid = CutGrid(bounder, compact, stage, price)
        for count in (1, 2, 3, 5, 8):
            for pairs, _ in grid.plans((count,)):
                search.start(pairs)
                search.fill()
            self.work += 0.05 * compact.n
            if search.best_seconds < np.inf:
                search.start(search.best_pairs())
                break
            if self.left() <= 0:
                break
        self._anneal_sets(search, 0.3, 0.1)
        return search.best_pairs() if search.best_seconds < np.inf else None

    def _anneal_sets(self, search: SetSearch, heat: float, share: float) -> None:
        """Let the search over recomputations run for a share of what is left."""
        per_unit = max(1.0, 60_000.0 / (1500.0 + self.compact.n))
        work = min(share * self.left(), 150.0 + 0.4 * self.compact.n)
        steps = int(max(0.0, work) * per_unit / 8)
        factor = (CALMEST / heat) ** (1.0 / 8)
        for r in range(8):
            if steps < 1:
                break
            search.run(steps, heat * factor**r, heat * factor ** (r + 1))
            self.work += steps / per_unit
        search.fill()

    # copies that cover what is over budget

    def _cover(self, pairs: Rows | None, marks: Rows) -> bool:
        """Offload until the plan fits without waiting; tell whether it does, without a stall.

        At first every value may go, then only those whose copies lose little to latency.  If
        nothing fits, waiting may still make it fit.
        """
        if pairs is None:
            return False
        for level in self._levels:
            tried, least, stale = marks, np.inf, 0
            for _ in range(40):
                found = self._price_of(pairs, tried, wait=False)
                if found.played.excess == 0:
                    return found.played.stall_seconds <= 1e-9 * found.played.seconds
                stale = 0 if found.played.excess < least else stale + 1
                least = min(least, found.played.excess)
                more = self._relief(found, level)
                if not len(more) or stale > 2:
                    break
                tried = _merged(tried, more)
            self._price_of(pairs, tried)
        return False

    def _relief(self, found: Arranged, level: float = 0.0) -> Rows:
        """Return marks that lift enough off the worst position, the values made earliest first.

        Args:
            found: the plan.
            level: bytes per second of copying that a value must reach.
        """
        over = found.memory - self.machine.budget
        at = int(np.argmax(over))
        rows = _crossing(found, at)
        rows = rows[self._rate[found.gaps[rows, 0]] >= level]
        if not len(rows):
            return NOTHING
        rows = rows[np.argsort(found.gaps[rows, 1], kind="stable")]
        size = np.cumsum(self.machine.value_bytes[found.gaps[rows, 0]])
        enough = int(np.searchsorted(size, over[at])) + 1
        return _marks(found, rows[:enough], at)

    # recomputations and copies in turn

    def _alternate(self) -> None:
        """Recompute less in the memory that copies leave, then copy more while the link can."""
        self._saturate()
        self._refine(0.3)

    def _saturate(self) -> None:
        """Offload more values across the fullest position, as many as do not stall."""
        found = self._price_of(self.pairs, self.marks)
        at = int(np.argmax(found.memory))
        rows = _crossing(found, at)
        rows = rows[np.argsort(found.gaps[rows, 1], kind="stable")]
        low, high = 0, len(rows) + 1
        stall = found.played.stall_seconds * (1 + 1e-9) + 1e-12 * found.played.seconds
        marks = self.marks
        while high - low > 1 and self.left() > 0:
            middle = (low + high) // 2
            tried = _merged(self.marks, _marks(found, rows[:middle], at))
            priced = self._price_of(self.pairs, tried)
            if priced.played.excess == 0 and priced.played.stall_seconds <= stall:
                low, marks = middle, _effective(priced)
            else:
                high = middle
        self.marks = marks

    def _refine(self, heat: float) -> None:
        """Anneal the recomputations with the memory of the offloaded values given away."""
        held = arrange(self.machine, self.pairs, NOTHING, wait=False)
        gone = arrange(self.machine, self.pairs, self.marks)
        self.work += 6e-4 * len(held.run)
        freed = held.memory - gone.memory
        starts = np.flatnonzero(np.diff(gone.stage[:-1], prepend=-1))
        relief = np.minimum.reduceat(freed, starts) if len(freed) else freed
        moved = np.zeros(self.compact.n, np.bool_)
        moved[self.compact.value_task[self.marks[:, 0]]] = True
        moved[self.pairs[:, 1]] = False
        compact = replace(self.compact, rerun=self.compact.rerun & ~moved)
        price = 3.0 * (self._price or self._bounder.network.natural_price())
        baseline = self._bounder.moments.baseline - relief
        search = SetSearch(compact, baseline, self.limits.seed, price, self.machine.calls)
        search.start(self.pairs)
        search.fill()
        self._anneal_sets(search, heat, 0.2)
        if search.best_seconds < np.inf:
            self._cover(search.best_pairs(), self.marks)

    # both at once

    def _anneal(self, heat: float) -> None:
        """Anneal both kinds of choice from the best plan, every move priced by the clock."""
        if self.best is None:
            return
        rng = self._random
        each = 0.1 + 3e-4 * len(self.best.run)
        steps = int(min(self.left(), 50.0 + 0.5 * self.compact.n) / each)
        pairs, marks, found = self.pairs, self.marks, self.best
        now = self._energy(found)
        for step in range(steps):
            if self.left() <= 0:
                break
            temperature = self._unit * heat * (CALMEST / heat) ** (step / steps)
            other_pairs, other_marks = self._move(pairs, marks, found)
            other = self._price_of(other_pairs, other_marks)
            for _ in range(2):
                if other.played.excess == 0:
                    break
                more = self._relief(other)
                if not len(more):
                    break
                other_marks = _merged(other_marks, more)
                other = self._price_of(other_pairs, other_marks)
            energy = self._energy(other)
            if energy <= now or rng.random() < math.exp((now - energy) / temperature):
                pairs, marks, found, now = other_pairs, other_marks, other, energy

    def _energy(self, found: Arranged) -> float:
        price = 3.0 * (self._price or self._bounder.network.natural_price())
        return found.played.seconds + price * found.played.excess

    def _move(self, pairs: Rows, marks: Rows, found: Arranged) -> tuple[Rows, Rows]:
        """Make one random change to a plan."""
        rng = self._random
        draw = rng.random()
        if len(pairs) and draw < 0.4:
            pick = rng.randrange(len(pairs))
            gone = np.arange(len(pairs)) == pick
            if rng.random() < 0.3:  # everything that runs again before this stage
                gone = pairs[:, 0] == pairs[pick, 0]
            return pairs[~gone | (self._locks[pairs[:, 1]] == pairs[:, 0])], marks
        if len(marks) and draw < 0.6:
            marks = np.delete(marks, rng.randrange(len(marks)), axis=0)
            if rng.random() < 0.5:
                return pairs, marks
        if draw < 0.85:
            at = (
                int(np.argmax(found.memory))
                if rng.random() < 0.5
                else rng.randrange(len(found.run))
            )
            rows = _crossing(found, at)
            if len(rows):
                row = rows[rng.randrange(len(rows))]
                return pairs, _merged(marks, _marks(found, np.array([row]), at))
            return pairs, marks
        if not len(found.gaps):
            return pairs, marks
        value, _, reader, _, _ = found.gaps[rng.randrange(len(found.gaps))].tolist()
        stage, task = int(found.stage[reader]), int(self.compact.value_task[value])
        if task < stage < self.compact.n and self.compact.rerun[task]:
            return _merged(pairs, np.array([[stage, task]])), marks[marks[:, 0] != value]
        return pairs, marks


def _levels(rate: NDArray[np.float64], size: NDArray[np.int64]) -> list[float]:
    """Return rates of copying below which the parts LEFT_ALONE of all bytes lie."""
    order = np.argsort(rate, kind="stable")
    share = np.cumsum(size[order]) / max(1, int(size.sum()))
    found = [0.0 if part == 0 else rate[order[np.searchsorted(share, part)]] for part in LEFT_ALONE]
    return list(dict.fromkeys(float(level) for level in found)) if len(rate) else [0.0]


def _crossing(found: Arranged, at: int) -> NDArray[np.int64]:
    """Return the gaps that lie across a position, are not offloaded and may be."""
    gaps = found.gaps
    idle = (gaps[:, 1] < at) & (gaps[:, 2] > at) & (gaps[:, 4] == 0)
    return np.flatnonzero(idle)


def _marks(found: Arranged, rows: NDArray[np.int64], at: int) -> Rows:
    """Return a mark for each gap, at a position that it lies across."""
    gaps = found.gaps[rows]
    here = found.stage[at]
    stage = np.where(found.stage[gaps[:, 1]] < here, here, found.stage[gaps[:, 2]])
    return np.stack([gaps[:, 0], stage], axis=1)


def _effective(found: Arranged) -> Rows:
    """Return one mark for each gap that is really offloaded, just before its reader."""
    gaps = found.gaps[found.fetch >= 0]
    rows = np.stack([gaps[:, 0], found.stage[gaps[:, 2]]], axis=1)
    return _merged(NOTHING, rows)


def _merged(rows: Rows, more: Rows) -> Rows:
    """Return the union of two sets of rows, sorted."""
    return np.unique(np.concatenate([rows, more]), axis=0)
