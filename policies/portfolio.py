"""The policy "auto": bounds and searches that improve one answer until it is told to stop.

It keeps the best plan and the best bound at every moment.  A deadline, the work limit, Ctrl-C or a
failing engine ends an engine and never loses them.  With a work limit and no time limit, the answer
is a function of the problem and the seed.
"""

from __future__ import annotations

import time
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from policies.compact import compact_of
from policies.cutbound import CutBound, CutBounder
from policies.cutgrid import CutGrid
from policies.decision import Decision, Status
from policies.errors import Infeasible, InvalidDecision, Stopped
from policies.evaluate import simulate
from policies.floor import floor
from policies.judge import judged
from policies.lifetimes import first_unknown, to_pairs, to_sequence
from policies.mincut import best_price
from policies.nested import nested_starts
from policies.ordering import always_between, permuted, search_order
from policies.policy import Limits, Progress, Step, policy_named, register
from policies.problem import Choice
from policies.proving import StageRounds
from policies.recompute_sets import SetSearch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.problem import Problem

__all__ = ["Incumbent", "auto", "plan"]

LARGE = 5000
"""Graphs with more tasks are left at a gap of PLENTY, whatever the time limit."""

HEATS = (0.3, 1.0, 0.1, 3.0)
"""First temperatures of successive annealings, in mean seconds of a task."""

ENOUGH = 1e-8
"""A gap below this fraction of the step time is none."""

PLENTY = 1e-4
"""A gap below this fraction is not worth more work unless a time to use was given."""


class Incumbent:
    """The best plan and the best bound so far, and when to stop.

    Args:
        problem: The compact problem, with its budget.
        limits: When to stop.
        progress: Is called with news.
        calls: How often everything from the first unknown task on runs.
    """

    def __init__(
        self, problem: Compact, limits: Limits, progress: Progress | None, calls: float
    ) -> None:
        """Start with no plan and the bound that every task runs once."""
        self.problem = problem
        self.limits = limits
        self.progress = progress
        self.calls = calls
        self.enough = ENOUGH
        self.began = time.perf_counter()
        self.work = 0.0
        self.base = float(problem.seconds.sum())
        self.sequence: NDArray[np.int64] | None = None
        self.seconds = float("inf")
        self.peak = 0
        self.bound = self.base
        self.engine = "every task runs once"
        self.interrupted = False
        self.searched = float("inf")
        self._priced = float("inf")

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    @property
    def gap(self) -> float:
        """Seconds above the bound as a fraction of the bound; infinite without a plan."""
        if self.sequence is None:
            return float("inf")
        return (self.seconds - self.bound) / self.bound if self.bound > 0 else 0.0

    def left(self) -> float:
        """Return the seconds (or, without a time limit, the work in milliseconds) left."""
        rest = (self.limits.work - self.work) / 1000.0
        if self.limits.time_seconds is not None:
            # what comes after the search, above all the referee, takes time too
            usable = 0.96 * self.limits.time_seconds - 4e-5 * self.problem.n
            rest = min(usable - self.elapsed, max(rest, 1.0))
        return rest

    def done(self) -> bool:
        """Tell whether to stop."""
        return self.interrupted or self.gap <= self.enough or self.left() <= 0

    def offer(self, sequence: NDArray[np.int64], engine: str) -> bool:
        """Take a plan if the referee finds that it fits and is the best."""
        try:
            outcome = simulate(self.problem, sequence)
        except InvalidDecision as error:  # something that may not be held was held
            self.tell(f"{engine}: {error}")
            return False
        seconds = outcome.early_seconds + self.calls * outcome.late_seconds
        if outcome.peak > self.problem.budget or seconds >= self._priced:
            return False
        self._priced = seconds
        self.sequence, self.seconds, self.peak = sequence, outcome.seconds, outcome.peak
        self.tell(engine)
        return True

    def prove(self, extra_seconds: float, engine: str) -> None:
        """Take a bound on the seconds of recomputation if it is the best."""
        if self.base + extra_seconds > self.bound:
            self.bound, self.engine = self.base + extra_seconds, engine
            self.tell(engine)

    def tell(self, engine: str) -> None:
        """Report progress."""
        if self.progress is not None:
            found = self.sequence is not None
            self.progress(
                Step(
                    self.elapsed,
                    engine,
                    self.seconds if found else None,
                    self.bound,
                    self.peak if found else None,
                )
            )


@register("auto")
def auto(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Find a plan near the optimum, and prove how near.

    Args:
        problem: With its options chosen.
        limits: When to stop.
        progress: Is called whenever the plan or the bound improves.

    Returns:
        The best plan found, with the best bound proved.

    Raises:
        Infeasible: proved, or nothing found within the limits.

    >>> import networkx as nx
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 8), ("c", 1), ("d", 2)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")])
    >>> auto(Problem(graph, budget=12, first_order=("a", "b", "c", "d")), limits=Limits()).seconds
    5.0
    """
    return plan(problem, limits, progress)[0]


def plan(
    problem: Problem,
    limits: Limits,
    progress: Progress | None,
    warm: Sequence[NDArray[np.int64]] = (),
    enough: float = PLENTY,
) -> tuple[Decision, NDArray[np.int64]]:
    """Do what `auto` does, starting from plans that are known.

    Args:
        problem: With its options chosen.
        limits: When to stop.
        progress: Is called with news.
        warm: Plans as task indices, for other budgets or other costs of the same graph.
        enough: A gap, as a fraction, that ends the search even if there is time left.

    Returns:
        The decision, and its plan as task indices.

    Raises:
        Infeasible: proved, or nothing found within the limits.
    """
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    if "bounder" not in problem.cache:
        problem.cache["bounder"] = CutBounder(compact)
    best = Incumbent(compact, limits, progress, problem.calls)
    quick = limits.time_seconds is None or len(warm) > 0 or compact.n > LARGE
    best.enough = enough if quick else ENOUGH
    try:
        if compact.free_order:
            _solve_free(best, problem, problem.cache["bounder"])
        else:
            _solve(best, problem, problem.cache["bounder"], warm)
    except KeyboardInterrupt:
        best.interrupted = True
        if best.sequence is None or not limits.keep_on_interrupt:
            raise
    if best.sequence is None:
        least = floor(problem)
        raise Infeasible(
            budget,
            lower_bound_bytes=least.bytes,
            witness=least.witness,
            task=least.task,
            proved=budget < least.bytes,
        )
    decision = judged(
        problem,
        [compact.tasks[t] for t in best.sequence],
        policy="auto",
        budget_bytes=budget,
        bound_seconds=best.bound,
        bound_engine=best.engine,
        status=Status.TIME_LIMIT if best.interrupted else Status.FEASIBLE,
        solve_seconds=best.elapsed,
    )
    return decision, best.sequence


def _solve_free(best: Incumbent, source: Problem, bounder: CutBounder) -> None:
    """Search orders alone, then with recomputation on top of the given and the best order."""
    problem = best.problem
    if not problem.n:
        best.offer(np.zeros(0, np.int64), "save all")
        return
    split = first_unknown(problem)
    for task in (split - 1, split):
        if bounds_hold(source) and 0 <= task < problem.n and always_between(problem, task):
            value, _ = best_price(
                bounder.network,
                bounder.need(task),
                bounder.weight(task),
                bounder.room(task, problem.budget),
                0.0,
            )
            best.prove(value, "min cut at one stage")
    steps = max(200, 40_000_000 // (problem.n + len(problem.reads)) // 4)
    steps = min(steps, 60_000)
    order, excess = search_order(problem, best.limits.seed, steps)
    for again, heat in enumerate((0.3, 0.02, 0.1, 0.6)):
        best.work += 0.3 * best.limits.work / 5
        if excess == 0 or best.left() <= 0:
            break
        other, less = search_order(problem, best.limits.seed + again + 1, steps, heat)
        if less < excess:
            order, excess = other, less
    if excess == 0:
        best.offer(order, "order search")
    for one in (order, np.arange(problem.n, dtype=np.int64)):
        if best.done():
            return
        fixed = permuted(problem, one)
        rest = None if best.limits.time_seconds is None else 0.5 * max(0.0, best.left())
        limits = Limits(rest, max(0, int((best.limits.work - best.work) / 2)), best.limits.seed)
        inner = Incumbent(fixed, limits, None, best.calls)
        inner.enough = best.enough
        _solve(inner, source, CutBounder(fixed), ())
        best.work += inner.work
        if inner.sequence is not None:
            best.offer(one[inner.sequence], "order search and recompute sets")


def bounds_hold(problem: Problem) -> bool:
    """Tell whether bounds on recomputation hold: nothing may leave for slow memory instead."""
    if problem.link is None:
        return True
    return not any(Choice.OFFLOAD in problem.allowed(task) for task in problem.graph)


def _solve(
    best: Incumbent, source: Problem, bounder: CutBounder, warm: Sequence[NDArray[np.int64]]
) -> None:
    """Run the engines for a fixed order, quick ones first."""
    problem = best.problem
    baseline = bounder.moments.baseline
    everything = np.arange(problem.n, dtype=np.int64)
    if not problem.n or (bool(problem.hold.all()) and int(baseline.max()) <= problem.budget):
        best.offer(everything, "save all")
        return
    rigorous = bounds_hold(source)
    bound = bounder.bound(problem.budget)
    if rigorous:
        best.prove(bound.seconds, "min cut at one stage")
    natural = bounder.network.natural_price()
    price = 3.0 * (bound.price if bound.price > 0 else natural)
    search = SetSearch(problem, baseline, best.limits.seed, price, best.calls)
    for sequence in warm:
        search.start(to_pairs(problem.n, sequence))
        search.fill()
        _take(best, search, "warm start")
    starts = _starts(best, search, bounder, bound)
    if rigorous and not best.done():
        _special(best, source, search)
    stage = bound.task if bound.task >= 0 else int(np.argmax(baseline))
    proof = StageRounds(problem, bounder.moments, [stage])
    proof.finished = not rigorous
    timed = best.limits.time_seconds is not None
    stale = round_ = 0
    while not best.done() and (timed or stale < 2):
        if not proof.finished and _provable(best, proof):
            _prove(best, search, proof, 0.7 if proof.cut_short and best.gap < 0.05 else 0.2)
            if best.done():
                break
        if best.sequence is None:
            search.price *= 1.5
            if round_ % 3 == 0:
                search.start(starts[round_ // 3 % len(starts)])
        improved = _anneal(best, search, HEATS[round_ % len(HEATS)])
        stale = 0 if improved else stale + 1
        if timed and stale > 2 and best.gap <= PLENTY and proof.finished:
            break
        round_ += 1


def _special(best: Incumbent, source: Problem, search: SetSearch) -> None:
    """Ask the exact engines for tiny graphs and for chains, if this is one."""
    if source.first_order is None:
        return
    asked = ["chain"] if best.gap > PLENTY and 4 <= best.problem.n <= 1000 else []
    if best.problem.n <= 7:
        asked = ["exhaustive"]
    place = {task: index for index, task in enumerate(best.problem.tasks)}
    for name in asked:
        try:
            found = policy_named(name)(source, limits=best.limits)
        except (Infeasible, Stopped) as error:
            best.tell(f"{name}: {error}")
            continue
        sequence = np.array([place[task] for task in found.order], np.int64)
        search.start(to_pairs(best.problem.n, sequence))
        _take(best, search, name)
        best.offer(sequence, name)
        if found.status is Status.OPTIMAL and best.calls == 1:
            best.prove(found.seconds - best.base, name)


def _starts(
    best: Incumbent, search: SetSearch, bounder: CutBounder, bound: CutBound
) -> list[NDArray[np.int64]]:
    """Make plans from cuts and nested ones; return those that do not fit, the nearest first."""
    problem = best.problem
    stage = bound.task if bound.task >= 0 else int(np.argmax(bounder.moments.baseline))
    grid = CutGrid(bounder, problem, stage, bound.price)
    nothing = np.zeros((0, 2), np.int64)
    over: list[tuple[float, NDArray[np.int64]]] = []
    nested: list[tuple[float, NDArray[np.int64]]] = []
    count, since = 1, 0
    while count <= max(4, min(stage // 4, 800)):
        if best.limits.time_seconds is not None and best.left() <= 0 and over:
            break
        before = best.seconds
        for pairs, peak in grid.plans((count,)):
            search.start(pairs)
            search.fill()
            _take(best, search, "interpolated cut")
            if peak > problem.budget:
                over.append((_energy(search), pairs))
        if count == 1 and best.gap > 10 * PLENTY:
            nested = _nested(best, search, bounder)
        since = 0 if best.seconds < before or best.sequence is None else since + 1
        if best.sequence is not None and (since > 1 or best.gap < 10 * PLENTY):
            break
        count = max(count + 1, count * 3 // 2)
    over.sort(key=lambda pair: pair[0])
    nested.sort(key=lambda pair: pair[0])
    search.start(search.best_pairs() if best.sequence is not None else nothing)
    turns = zip_longest(over[:3], nested[:3])
    return [*(one[1] for turn in turns for one in turn if one is not None), nothing]


def _energy(search: SetSearch) -> float:
    """Return seconds and the price of what is over budget."""
    return search.plan.seconds + search.price * search.plan.excess


def _nested(
    best: Incumbent, search: SetSearch, bounder: CutBounder
) -> list[tuple[float, NDArray[np.int64]]]:
    """Start from nested checkpoints; return the plans that do not fit, with their energies."""
    over: list[tuple[float, NDArray[np.int64]]] = []
    filled = 0
    for start in nested_starts(best.problem, bounder.network, stop=lambda: best.left() <= 0):
        if start.peak > best.problem.budget:
            search.start(start.pairs)
            over.append((_energy(search), start.pairs))
        elif filled < 4:
            filled += 1
            search.start(start.pairs)
            search.fill()
            _take(best, search, "nested checkpoints")
    best.work += 300.0 + 0.2 * best.problem.n
    return over


def _provable(best: Incumbent, proof: StageRounds) -> bool:
    """Tell whether the stage program is small enough to be worth solving."""
    if best.limits.time_seconds is None:
        return proof.size <= 1600 and len(proof.stages) <= 4
    return proof.size <= 20_000


def _prove(best: Incumbent, search: SetSearch, proof: StageRounds, share: float) -> None:
    """Solve one stage program in a share of what is left; its plan is a start for the search."""
    timed = best.limits.time_seconds is not None
    seconds = max(0.3, best.left() * share) if timed else None
    nodes = None if timed else 200
    began = best.elapsed
    try:
        solution = proof.step(seconds, nodes, best.seconds - best.base)
    except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
        proof.finished = True
        best.tell(f"stage program failed: {error}")
        return
    best.work += 1000.0 * (best.elapsed - began) if timed else 150.0 + proof.size
    best.prove(solution.seconds, f"stage program at {len(proof.stages)} stages")
    if solution.pairs is not None:
        search.start(solution.pairs)
        search.fill()
        _take(best, search, "stage program")
        if best.sequence is not None:
            search.start(search.best_pairs())


def _take(best: Incumbent, search: SetSearch, engine: str) -> None:
    """Offer the best plan of the search."""
    if search.best_seconds < best.searched:
        best.searched = search.best_seconds
        best.offer(to_sequence(best.problem.n, search.best_pairs()), engine)


def _anneal(best: Incumbent, search: SetSearch, heat: float) -> bool:
    """Anneal once from the current plan; tell whether the best plan improved by much."""
    n = best.problem.n
    timed = best.limits.time_seconds is not None
    per_unit = max(1.0, 60_000.0 / (1500.0 + n))
    rounds = 24
    work = min(best.left() * 1000.0, 400.0 + n if timed else 150.0 + 0.4 * n)
    steps = max(100, int(work * per_unit / rounds))
    factor = (0.004 / heat) ** (1.0 / rounds)
    before = best.seconds
    for r in range(rounds):
        if timed and best.left() <= 0:
            break
        search.run(steps, heat * factor**r, heat * factor ** (r + 1))
        best.work += steps / per_unit
        _take(best, search, "recompute sets")
    search.fill()
    if search.best_seconds < np.inf:
        search.start(search.best_pairs())
        search.fill()
    _take(best, search, "recompute sets")
    return best.seconds < before * (1 - 1e-4) or best.seconds == np.inf
