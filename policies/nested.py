"""Nested plans for tight budgets: what crosses is held at some places, the rest runs again.

Segments of several sizes are tried, since a value may be held or not only where segments meet; in
each, a few options per segment come from minimum cuts at several prices of memory with everything
that crosses held, and a dynamic program combines them with checkpoints nested to any depth.  Its
memory is an estimate, so that plans are written out for several allowances around the budget, and
the referee decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from policies.blocks import boundaries
from policies.compact import compact_of
from policies.crossing import crossing
from policies.cutbound import moments
from policies.evaluate import memory_profile, simulate
from policies.floor import not_found, refuse_below_floor
from policies.judge import judged
from policies.lean import lean_pairs, unrolled
from policies.lifetimes import first_unknown, to_sequence
from policies.mincut import TwoNodeCut
from policies.nesting import Nesting
from policies.policy import Limits, Progress, register
from policies.recompute_sets import SetSearch
from policies.segment_options import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from policies.compact import Compact
    from policies.decision import Decision
    from policies.problem import Problem

__all__ = ["Start", "nested", "nested_starts"]

SEGMENTS = (12, 24, 48, 96)
DOWN = (1.0, 0.97, 0.94, 0.9, 0.85, 0.8, 0.75, 0.68)
UP = (1.03, 1.06, 1.1, 1.15, 1.22, 1.3)
PRICES = 8
VARIANTS = ((1.0, 0), (0.8, 0), (0.65, 0), (0.5, 0), (1.0, 4), (0.8, 4))
"""What is not read across the split and takes more than a share of the budget is made lean first;
and how careful to be about shared values, which is only tried where nothing else fits."""

TRIES = 60
"""Minimum cuts, at most, to make it lean."""

LARGE = 30_000
"""Graphs with more tasks get fewer segmentations and fewer prices."""


@dataclass(frozen=True, slots=True)
class Start:
    """A plan to start from.

    Attributes:
        pairs: rows (stage, task).
        peak: bytes.
        seconds: of all runs.
    """

    pairs: NDArray[np.int64]
    peak: int
    seconds: float


@register("nested")
def nested(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Plan by nested checkpoints, then take back what the budget does not need.

    Raises:
        Infeasible: not found.

    Source: Olivier Beaumont, Lionel Eyraud-Dubois, Julien Herrmann, Alexis Joly, Alena Shilova.
    Optimal checkpointing for heterogeneous chains: how to train deep neural networks with limited
    memory. ACM TOMS, 2024 (rotor).  Xunyi Zhao, Théotime Le Hellard, Lionel Eyraud-Dubois, Julia
    Gusak, Olivier Beaumont. Rockmate. ICML 2023 (several options per block).

    >>> from policies import Budget
    >>> from policies.generate import chain
    >>> problem = chain(30).with_budget(Budget(fraction=0.3))
    >>> decision = nested(problem, limits=Limits())
    >>> decision.peak_bytes <= decision.budget_bytes, decision.recomputations
    (True, 25)
    """
    del progress
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    refuse_below_floor(problem, budget)
    compact = compact_of(problem, budget)
    if compact.free_order:
        compact = _in_order(compact)
    baseline = moments(compact).baseline
    search = SetSearch(compact, baseline, limits.seed, 0.0, problem.calls)
    search.start(np.zeros((0, 2), np.int64))
    least: int | None = None
    if search.plan.excess > 0:
        for start in nested_starts(compact, TwoNodeCut(compact)):
            search.start(start.pairs)
            search.fill()
            least = start.peak if least is None else min(least, start.peak)
    if not np.isfinite(search.best_seconds):
        held = bool(compact.hold.all())
        known = least + problem.fixed_bytes if least is not None and held else None
        raise not_found(problem, budget, known)
    sequence = to_sequence(compact.n, search.best_pairs())
    return judged(
        problem,
        [compact.tasks[t] for t in sequence],
        policy="nested",
        budget_bytes=budget,
        solve_seconds=time.perf_counter() - began,
    )


def _in_order(compact: Compact) -> Compact:
    return replace(compact, free_order=False)


def split_of(compact: Compact) -> int:
    """Give the first unknown task or, without any, the place of the highest memory."""
    split = first_unknown(compact)
    if split >= compact.n and compact.n:
        order = np.arange(compact.n, dtype=np.int64)
        split = int(np.argmax(memory_profile(_held(compact), order)))
    return split


def _held(compact: Compact) -> Compact:
    """Give the problem without a ban on holding: what may not be held is put right later."""
    return replace(compact, hold=np.ones(compact.n, np.bool_))


def nested_starts(
    compact: Compact,
    network: TwoNodeCut,
    segments: tuple[int, ...] = SEGMENTS,
    stop: Callable[[], bool] = lambda: False,
) -> list[Start]:
    """Make nested plans for the budget.

    Args:
        compact: the problem, with its budget and a fixed order.
        network: of the same problem.
        segments: numbers of segments to try.
        stop: asked now and then whether to give what there is.

    Returns:
        The best plans that fit first, the quickest before the others, at most one for each number
        of segments and variant; then those that do not, the leanest first.

    >>> from policies.generate import chain
    >>> compact = compact_of(chain(30), 40)
    >>> starts = nested_starts(compact, TwoNodeCut(compact))
    >>> starts[0].peak, starts[0].peak <= 40
    (40, True)
    """
    split = split_of(compact)
    if split < 2:
        return []
    priced = _held(compact)
    found: list[Start] = []
    nothing = np.zeros((0, 2), np.int64)
    seen: set[tuple[int, bytes]] = set()
    for share, early in VARIANTS:
        fixed = nothing
        some = any(s.peak <= compact.budget for s in found)
        if some and (early or (compact.n > LARGE and share < 1.0)):
            break
        if share < 1.0:
            fixed = lean_pairs(compact, split, int(share * compact.budget), TRIES)
        if (early, fixed.tobytes()) in seen:
            continue
        seen.add((early, fixed.tobytes()))
        runs, stage, task = unrolled(compact, fixed)
        start = int(np.searchsorted(stage, split))
        cuts = TwoNodeCut(runs) if len(fixed) else network
        tried: set[int] = set()
        for count in segments:
            bounds = boundaries(runs, start, count)
            if len(bounds) in tried or (compact.n > LARGE and len(tried) > 1):
                continue
            if found and stop():
                break
            tried.add(len(bounds))
            cross = crossing(runs, start, bounds, early)
            again = options(runs, cuts, cross, PRICES if compact.n <= LARGE else 4)
            tables = Nesting(runs, cross, again, 1.32 * compact.budget)
            found += _scan(_Plans(priced, tables, fixed, stage, task), compact.budget)
    fits = sorted((s for s in found if s.peak <= compact.budget), key=lambda s: s.seconds)
    over = sorted((s for s in found if s.peak > compact.budget), key=lambda s: s.peak)
    return [*fits, *over]


@dataclass(frozen=True, slots=True)
class _Plans:
    """Plans of a program for a problem in which some recomputations are fixed.

    Attributes:
        compact: the problem itself.
        tables: of the program, whose tasks are the runs of the fixed plan.
        fixed: rows (stage, task).
        stage: of each run.
        task: of each run.
    """

    compact: Compact
    tables: Nesting
    fixed: NDArray[np.int64]
    stage: NDArray[np.int64]
    task: NDArray[np.int64]

    def plan(self, size: float) -> Start | None:
        """Give the plan for so many bytes, priced by the referee."""
        pairs = self.tables.pairs(size)
        if pairs is None:
            return None
        rows = np.stack([self.stage[pairs[:, 0]], self.task[pairs[:, 1]]], axis=1)
        rows = np.concatenate([self.fixed, rows[rows[:, 0] > rows[:, 1]]])
        rows = np.unique(rows, axis=0) if len(rows) else self.fixed
        outcome = simulate(self.compact, to_sequence(self.compact.n, rows))
        return Start(rows, outcome.peak, outcome.seconds)


def _scan(plans: _Plans, budget: int) -> list[Start]:
    """Write out plans for allowances around the budget; keep the quickest that fits."""
    best: Start | None = None
    leanest: Start | None = None
    for way in (DOWN, UP, (plans.tables.least() / max(1, budget),)):
        if way not in (DOWN, UP) and best is not None:
            break
        for factor in way:
            start = plans.plan(factor * budget)
            if start is None:
                continue
            if leanest is None or start.peak < leanest.peak:
                leanest = start
            if start.peak > budget:
                if way is UP:
                    break
                continue
            if best is None or start.seconds < best.seconds:
                best = start
            if way is DOWN:
                break
    kept = best if best is not None else leanest
    return [] if kept is None else [kept]
