"""Engines for a fixed order of first executions, the quick ones first, improving one answer.

Cuts give a bound and first plans; tiny graphs and chains have exact engines of their own.  Then two
things go on side by side until the time or the work is used up: stage programs raise the bound, and
hand over their plans; annealing and large neighbourhoods improve the best plan.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from policies.cutgrid import CutGrid
from policies.decision import Status
from policies.errors import Infeasible, Stopped
from policies.gapcover import GapCover
from policies.incumbent import PLENTY
from policies.lifetimes import to_pairs, to_sequence
from policies.linkbound import link_bound
from policies.nested import nested_starts
from policies.offload import can_offload
from policies.playback import machine_of
from policies.policy import policy_named
from policies.proving import AT_ONCE_SECONDS, StageRounds
from policies.recompute_sets import SetSearch
from policies.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.cutbound import CutBound, CutBounder
    from policies.incumbent import Incumbent
    from policies.problem import Problem

__all__ = ["improve"]

HEATS = (0.3, 1.0, 0.1, 3.0)
"""First temperatures of successive annealings, in mean seconds of a task."""

COOL = 0.004
"""Last temperature of each annealing."""

COOLINGS = 24
"""How often the plan is looked at while an annealing cools down."""

CHUNK = 500
"""Steps after which the clock is looked at."""

DEARER = 1.5
"""The price of memory rises by this factor while plans do not fit, and falls while they do."""

LONGER = 1.5
"""After each round of temperatures, annealing takes so many times longer."""

MOST_GAPS = 2_000
"""Gaps of a covering program that is worth solving."""

FAILURES = (ArithmeticError, MemoryError, OSError, RuntimeError, ValueError)
"""What a solver that fails may raise; it ends that engine and loses nothing."""

STRETCH_SECONDS = 0.5
"""Time limit of a program about a stretch of the plan."""


def improve(
    best: Incumbent, source: Problem, bounder: CutBounder, warm: Sequence[NDArray[np.int64]]
) -> None:
    """Improve the best plan and its bound until it is time to stop.

    Args:
        best: Of a problem with a fixed order.
        source: What the problem was made from.
        bounder: Of the problem.
        warm: Plans to start from, as task indices.
    """
    problem = best.problem
    everything = np.arange(problem.n, dtype=np.int64)
    fits = not problem.n or int(bounder.moments.baseline.max()) <= problem.budget
    if fits and bool(problem.hold.all()):
        best.offer(everything, "save all")
        return
    engines = _Engines(best, source, bounder)
    try:
        engines.start(warm)
        engines.go_on()
    finally:
        engines.proof.close()


class _Engines:
    """What the engines share: the search, the bound that is being raised, the starts."""

    def __init__(self, best: Incumbent, source: Problem, bounder: CutBounder) -> None:
        self.best = best
        self.source = source
        self.bounder = bounder
        self.timed = best.limits.time_seconds is not None
        problem = best.problem
        moments = bounder.moments
        self.rigorous = not can_offload(source)
        self.bound: CutBound = bounder.bound(problem.budget)
        if self.rigorous:
            best.prove(self.bound.seconds, "min cut at one stage")
        else:
            linked = link_bound(machine_of(source, problem), problem, bounder)
            best.prove(linked.seconds, linked.engine)
        natural = bounder.network.natural_price()
        self.price = 3.0 * (self.bound.price if self.bound.price > 0 else natural)
        seed = best.limits.seed
        self.search = SetSearch(problem, moments.baseline, seed, self.price, best.calls)
        self.windows = Windows(self.search, moments, seed)
        self.stage = self.bound.task if self.bound.task >= 0 else int(np.argmax(moments.baseline))
        self.proof = StageRounds(problem, moments, [self.stage], best.limits.time_seconds)
        self.proof.finished = not self.rigorous
        self.starts: list[NDArray[np.int64]] = []
        self.handed: list[tuple[NDArray[np.int64], str]] = []

    def start(self, warm: Sequence[NDArray[np.int64]]) -> None:
        """Make first plans."""
        for sequence in warm:
            self._try(to_pairs(self.best.problem.n, sequence), "warm start")
        self.starts = self._cut_plans()
        if self.rigorous and not self.best.done():
            self._special()
        if self.rigorous and not self.best.done():
            self._cover_gaps()

    def go_on(self) -> None:
        """Prove and search in turn."""
        best, search = self.best, self.search
        stale = round_ = 0
        while not best.done() and (self.timed or stale < 2):
            again = not self.proof.finished and self._prove()
            self._use_handed()
            if again and not self.proof.beside:
                continue
            if best.sequence is None:
                search.price *= DEARER
                if round_ % 3 == 0:
                    search.start(self.starts[round_ // 3 % len(self.starts)])
            before = best.seconds
            self._anneal(HEATS[round_ % len(HEATS)], LONGER ** (round_ // len(HEATS)))
            if self.timed and best.sequence is not None and round_ % 2 == 1:
                self._windows()
            improved = best.seconds < before * (1 - 1e-4) or best.seconds == np.inf
            stale = 0 if improved else stale + 1
            if self.timed and stale > 2 and best.gap <= PLENTY and self.proof.finished:
                break
            round_ += 1

    def _try(self, pairs: NDArray[np.int64], engine: str) -> None:
        """Start the search from a plan, and take what it does not need out of it."""
        self.search.start(pairs)
        self.search.fill()
        self._take(engine)

    def _take(self, engine: str) -> None:
        """Offer the best plan of the search."""
        best, search = self.best, self.search
        if search.best_seconds < best.searched:
            best.searched = search.best_seconds
            best.offer(to_sequence(best.problem.n, search.best_pairs()), engine)

    def _special(self) -> None:
        """Ask the exact engines for tiny graphs and for chains, if this is one."""
        best = self.best
        if self.source.first_order is None:
            return
        asked = ["chain"] if best.gap > PLENTY and 4 <= best.problem.n <= 1000 else []
        if best.problem.n <= 7:
            asked = ["exhaustive"]
        place = {task: index for index, task in enumerate(best.problem.tasks)}
        for name in asked:
            try:
                found = policy_named(name)(self.source, limits=best.limits)
            except (Infeasible, Stopped) as error:
                best.tell(f"{name}: {error}")
                continue
            sequence = np.array([place[task] for task in found.order], np.int64)
            self.search.start(to_pairs(best.problem.n, sequence))
            self._take(name)
            best.offer(sequence, name)
            if found.status is Status.OPTIMAL and best.calls == 1:
                best.prove(found.seconds - best.base, name)

    def _cover_gaps(self) -> None:
        """Raise the bound by the cheapest gaps in which values must be let go."""
        best = self.best
        cover = GapCover(best.problem, self.bounder.moments)
        if cover.size > MOST_GAPS:
            return
        try:
            whole = cover.program(AT_ONCE_SECONDS if self.timed else None, 100).minimise()
        except FAILURES as error:
            best.tell(f"gap cover failed: {error}")
            return
        best.work += 0.1 * cover.size
        if whole.infeasible:
            best.impossible = "gap cover"
        else:
            best.prove(min(cover.seconds(whole), best.seconds - best.base), "gap cover")

    def _cut_plans(self) -> list[NDArray[np.int64]]:
        """Make plans from cuts and nested ones; return those that do not fit, the nearest first."""
        best, search = self.best, self.search
        problem = best.problem
        grid = CutGrid(self.bounder, problem, self.stage, self.bound.price)
        nothing = np.zeros((0, 2), np.int64)
        over: list[tuple[float, NDArray[np.int64]]] = []
        nested: list[tuple[float, NDArray[np.int64]]] = []
        count, since = 1, 0
        while count <= max(4, min(self.stage // 4, 800)):
            if self.timed and best.left() <= 0 and over:
                break
            before = best.seconds
            for pairs, peak in grid.plans((count,)):
                self._try(pairs, "interpolated cut")
                if peak > problem.budget:
                    over.append((self._energy(), pairs))
            if count == 1 and best.gap > 10 * PLENTY:
                nested = self._nested_plans()
            since = 0 if best.seconds < before or best.sequence is None else since + 1
            if best.sequence is not None and (since > 1 or best.gap < 10 * PLENTY):
                break
            count = max(count + 1, count * 3 // 2)
        over.sort(key=lambda pair: pair[0])
        nested.sort(key=lambda pair: pair[0])
        search.start(search.best_pairs() if best.sequence is not None else nothing)
        turns = zip_longest(over[:3], nested[:3])
        return [*(one[1] for turn in turns for one in turn if one is not None), nothing]

    def _energy(self) -> float:
        """Return the seconds of the search's plan and the price of what is over budget."""
        return self.search.plan.seconds + self.search.price * self.search.plan.excess

    def _nested_plans(self) -> list[tuple[float, NDArray[np.int64]]]:
        """Make plans of nested checkpoints; return those that do not fit, with their energies."""
        best = self.best
        over: list[tuple[float, NDArray[np.int64]]] = []
        filled = 0
        network = self.bounder.network
        for start in nested_starts(best.problem, network, stop=lambda: best.left() <= 0):
            if start.peak > best.problem.budget:
                self.search.start(start.pairs)
                over.append((self._energy(), start.pairs))
            elif filled < 4:
                filled += 1
                self._try(start.pairs, "nested checkpoints")
        best.work += 20.0 + 0.2 * best.problem.n
        return over

    def _prove(self) -> bool:
        """Take the answer to a stage program if there is one, and begin the next.

        Returns:
            Whether to come back at once.
        """
        best, proof = self.best, self.proof
        engine = proof.engine
        try:
            if not proof.running:
                proof.begin(best.left() if self.timed else None)
            solution = proof.answer(best.seconds - best.base) if proof.running else None
        except FAILURES as error:
            proof.finished = True
            best.tell(f"{engine} failed: {error}")
            return False
        if solution is None:
            return False
        if not self.timed:
            best.work += 150.0 + proof.size
        if solution.infeasible:
            best.impossible = engine
            return True
        best.prove(solution.seconds, engine)
        if solution.pairs is not None:
            self.handed.append((solution.pairs, engine))
        return self.timed

    def _use_handed(self) -> None:
        """Start from the plans of the stage programs; go on from the best plan, if there is one."""
        for pairs, engine in self.handed:
            self._try(pairs, engine)
        if self.handed and self.best.sequence is not None:
            self.search.start(self.search.best_pairs())
        self.handed.clear()

    def _anneal(self, heat: float, longer: float) -> None:
        """Anneal once from the current plan, for so much time, or for so many steps."""
        best, search = self.best, self.search
        n = best.problem.n
        limit = best.limits.time_seconds
        per_unit = 120_000.0 / (1000.0 + n)
        if limit is None and best.sequence is None:
            per_unit /= 3.0  # steps are dear while much is over budget
        share = 0.15 + 0.0004 * n if limit is None else max(0.2 + 0.0005 * n, 0.06 * limit)
        share = min(share * longer, max(0.0, best.left())) / COOLINGS
        steps = max(4, int(1000.0 * share * per_unit))
        factor = (COOL / heat) ** (1.0 / COOLINGS)
        for r in range(COOLINGS):
            until = best.elapsed + share
            todo = steps
            # a step takes the longer the more is over budget: with a time limit the clock decides
            while todo > 0 and not (limit is not None and best.elapsed >= until):
                chunk = min(todo, CHUNK) if limit is None else CHUNK
                search.run(chunk, heat * factor**r, heat * factor ** (r + 1))
                todo -= chunk if limit is None else 0
            best.work += steps / per_unit
            self._take("recompute sets")
            if self.proof.beside and not self.proof.finished:
                self._prove()
            if best.done():
                break
        if best.sequence is not None:
            # a price that is higher than it must be keeps the search from leaving where it is
            over = search.plan.excess > 0
            search.price = search.price * DEARER if over else max(self.price, search.price / DEARER)
        search.fill()
        if search.best_seconds < np.inf:
            self._try(search.best_pairs(), "recompute sets")

    def _windows(self) -> None:
        """Plan a few stretches of the best plan anew."""
        best = self.best
        for _ in range(4):
            if best.done() or best.left() < 2 * STRETCH_SECONDS or self.windows.finished:
                return
            try:
                self.windows.improve(STRETCH_SECONDS)
            except FAILURES as error:
                self.windows.finished = True
                best.tell(f"large neighbourhood failed: {error}")
                return
            self._take("large neighbourhood")
