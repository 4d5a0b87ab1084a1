"""Two stages: which known values to keep for the unknown stage, exactly or with a certified gap.

Every known value that an unknown task reads is kept, or the task that makes it runs again in each
call, which asks the same of what that task reads.  Without a cap on what is kept the question is a
minimum cut.  With one the cut's dual gives a bound and a plan inside the cap, which is filled up
greedily and then improved by branch and bound on the cut's program with a knapsack row per cap.
``policies.keeping`` is the referee.

Source: Helix (Xin et al., "Accelerating Human-in-the-loop Machine Learning", 2018) uses the cut for
what to keep between runs of a workflow.  Caps, their rows and the order of attack are ours.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.closure_cut import ClosureCut, Corner, hull
from policies.compact import first_order
from policies.decision import Decision, Status
from policies.errors import Infeasible, InvalidProblem
from policies.judge import SLACK, judged
from policies.keeping import TwoStages, keeping, two_stages
from policies.kept_program import best_kept
from policies.kept_search import dual, fill, fits
from policies.late import replan
from policies.policy import Limits, Progress, Step, register
from policies.problem import Choice, Problem

__all__ = ["kept_of", "order_of", "staging", "within_peak"]

ROUNDING = 1e-8
"""Proofs count in units of 2^-40 of the sum of all costs, each rounded down."""

PROVING = 0.85
"""Part of a deadline by which the search ends: the plan has to be written down and judged."""


@dataclass(slots=True)
class _Best:
    """The best kept set and bound so far, kept whatever happens next."""

    corner: Corner | None = None
    bound: float = 0.0
    engine: str = "minimum cut"
    done: bool = False

    def offer(self, corner: Corner | None) -> None:
        """Take a kept set that is within the caps, if it is better."""
        if corner is not None and (self.corner is None or corner.seconds < self.corner.seconds):
            self.corner = corner

    def prove(self, bound: float, engine: str) -> None:
        """Take a bound, if it is better."""
        if bound > self.bound:
            self.bound, self.engine = bound, engine

    @property
    def met(self) -> bool:
        """Whether the bound is met, but for the rounding of costs to integers in its proof."""
        return self.corner is not None and self.corner.seconds <= self.bound * (1 + ROUNDING)


@register("staging")
def staging(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Keep the values that make all calls cheapest within ``Budget(rest=..., resident=...)``.

    Without ``Problem.loads`` a budget on the peak plays no part in the choice: the referee judges
    it afterwards.  With it, the peak is of the unknown stage, and ``policies.late`` sees to it.

    Raises:
        Infeasible: what must be kept, because nothing can make it again, takes more than the cap.
        InvalidProblem: a known task comes after an unknown one.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("data", seconds=0, bytes=100, effects=True)
    >>> graph.add_node("factor", seconds=9, bytes=80)
    >>> graph.add_node("weights", seconds=1, bytes=10)
    >>> graph.add_node("answer", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edges_from([("data", "factor"), ("factor", "weights"), ("weights", "answer")])
    >>> from policies.budget import Budget
    >>> dict(staging(Problem(graph, Budget(rest=50)), limits=Limits()).kept)
    {'weights': <Choice.SAVE: 'save'>}
    >>> staging(Problem(graph, Budget(rest=5)), limits=Limits())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    policies.errors.Infeasible: no plan fits 5 B...
    """
    began = time.perf_counter()
    stages = two_stages(problem)
    cut = ClosureCut(stages, problem.calls)
    best = _Best()
    try:
        _improve(problem, cut, best, limits, progress, began)
    except KeyboardInterrupt:
        if best.corner is None or not limits.keep_on_interrupt:
            raise
    assert best.corner is not None
    fixed = stages.early_seconds + problem.calls * stages.unknown_seconds
    kept = kept_of(stages, best.corner)
    budget = problem.limit.resolve(problem) if problem.limit.overhead is None else 0
    decision = judged(
        problem,
        order_of(problem, kept),
        policy="staging",
        budget_bytes=budget,
        bound_engine=best.engine,
        status=Status.FEASIBLE if best.done else Status.TIME_LIMIT,
        solve_seconds=time.perf_counter() - began,
        kept=kept,
    )
    if problem.loads is not None and decision.peak_bytes > budget:
        decision = within_peak(problem, cut, decision, budget, limits)
    bound = min(decision.seconds, fixed + best.bound)
    met = decision.seconds <= bound * (1 + SLACK) or (best.met and decision.kept == kept)
    met = met and decision.seconds <= (fixed + best.bound) * (1 + ROUNDING)
    return replace(
        decision,
        bound_seconds=decision.seconds if met else bound,
        bound_engine=best.engine,
        status=Status.OPTIMAL if met else decision.status,
    )


def _improve(  # noqa: PLR0917 (what the policy was given, and what it has)
    problem: Problem,
    cut: ClosureCut,
    best: _Best,
    limits: Limits,
    progress: Progress | None,
    began: float,
) -> None:
    """Better the plan and its bound until one meets the other or the limits are reached."""
    rest, resident = problem.limit.rest, problem.limit.resident

    def tell(engine: str) -> None:
        if progress is not None:
            base = cut.stages.early_seconds + problem.calls * cut.stages.unknown_seconds
            seconds = None if best.corner is None else base + best.corner.seconds
            now = time.perf_counter() - began
            progress(Step(now, engine, seconds, base + best.bound))

    first = cut.solve()
    if not first.feasible:
        raise _contradiction(cut)
    best.prove(first.bound_seconds, "minimum cut")
    tied = bool((cut.stages.tie[first.kept] >= 0).any())
    if fits(first, rest, resident):
        best.offer(first)
        if not tied:  # the cut is exact but for the rounding of its capacities
            best.prove(first.seconds, "minimum cut")
            best.done = True
            return
    tell("minimum cut")
    _refuse_too_little(cut, rest, resident)
    if not fits(first, rest, resident):
        price = dual(cut, rest, resident)
        best.prove(price.bound_seconds, "parametric cut")
        start = price.inside
        if start is None:
            least, _ = cut.fewest(cut.stages.rest_bytes if rest is not None else _resident(cut))
            start = least if fits(least, rest, resident) else None
        if start is not None:
            best.offer(fill(cut, start, rest, resident))
        tell("parametric cut")
    if best.met:
        best.done = True
        return
    left = limits.time_seconds
    if left is not None:
        left = PROVING * left - (time.perf_counter() - began)
        if left <= 0.0 and best.corner is not None:
            return
        if best.corner is None:
            left = max(left, 1.0)  # some time is needed to find any plan
    answer = best_kept(
        cut,
        rest,
        resident,
        hint=best.corner,
        work=limits.work,
        time_seconds=left,
        seed=limits.seed,
        keep_on_interrupt=limits.keep_on_interrupt,
    )
    best.prove(answer.bound_seconds, "branch and bound")
    if answer.corner is not None and fits(answer.corner, rest, resident):
        best.offer(answer.corner)
    if best.corner is None:
        cap = rest if rest is not None else resident or 0
        raise Infeasible(
            cap, lower_bound_bytes=cap + 1 if answer.infeasible else 0, proved=answer.infeasible
        )
    best.done = answer.finished
    tell("branch and bound")


def _resident(cut: ClosureCut) -> NDArray[np.int64]:
    """Resident bytes of what may not rest elsewhere."""
    return np.where(np.isfinite(cut.offload), 0, cut.stages.resident_bytes)


def _contradiction(cut: ClosureCut) -> InvalidProblem:
    """Name a value that may neither be kept nor made again, and is asked for."""
    stages = cut.stages
    compact = stages.compact
    stuck = ~stages.keepable & ~compact.rerun[compact.value_task] & ~stages.free
    names = [stages.items[i][0] for i in np.flatnonzero(stuck & compact.known[compact.value_task])]
    shown = ", ".join(repr(name) for name in names[:3])
    return InvalidProblem(f"may neither be kept nor made again, and the late stage asks: {shown}")


def _refuse_too_little(cut: ClosureCut, rest: int | None, resident: int | None) -> None:
    """Refuse a cap that is below what must be kept, by the fewest bytes that can be."""
    for cap, weight in ((rest, cut.stages.rest_bytes), (resident, _resident(cut))):
        if cap is None:
            continue
        least, bound = cut.fewest(weight)
        if bound <= cap:
            continue
        where = np.flatnonzero(least.kept & (weight > 0))
        witness = tuple(
            (" + ".join(map(str, cut.stages.items[i])), int(weight[i]))
            if len(cut.stages.items[i]) > 1
            else (cut.stages.items[i][0], int(weight[i]))
            for i in where
        )
        total = sum(size for _, size in witness)
        raise Infeasible(
            cap, lower_bound_bytes=bound, min_bytes=total, witness=witness, proved=True
        )


def within_peak(
    problem: Problem, cut: ClosureCut, decision: Decision, peak: int, limits: Limits
) -> Decision:
    """Find a plan whose calls keep to a cap on their peak: another order, or other kept sets.

    The planner of peaks orders the unknown stage with the kept values as inputs; kept sets on the
    hull are tried too, the quickest first.

    Args:
        problem: with stages apart.
        cut: its network.
        decision: the best plan without the cap.
        peak: cap in bytes.
        limits: when to stop.

    Raises:
        Infeasible: none was found, which is no proof.

    >>> from policies.generate import two_tasks
    >>> from policies.solve import solve
    >>> problem = two_tasks(calls=2, loads="once")
    >>> cut = ClosureCut(two_stages(problem), 2)
    >>> within_peak(problem, cut, solve(problem), 9, Limits()).peak_bytes
    9
    """
    began = time.perf_counter()
    rest, resident = problem.limit.rest, problem.limit.resident
    sets = [decision.kept or {}]
    corners = (corner for corner in hull(cut, 16) if fits(corner, rest, resident))
    sets += [kept_of(cut.stages, c) for c in sorted(corners, key=lambda c: c.seconds)]
    best: Decision | None = None
    least = decision.peak_bytes
    for kept in sets:
        spent = time.perf_counter() - began
        if limits.time_seconds is not None and spent > limits.time_seconds and best is not None:
            break
        one = judged(
            problem, order_of(problem, kept), policy="staging", budget_bytes=peak, kept=kept
        )
        if best is not None and one.seconds >= best.seconds:
            continue  # the order can only add seconds
        if one.peak_bytes > peak:
            share = replace(limits, work=limits.work // len(sets))
            try:
                order = replan(problem, one, peak, share)
            except Infeasible as error:
                least = min(least, one.peak_bytes, error.min_bytes or one.peak_bytes)
                continue
            one = judged(problem, order, policy="staging", budget_bytes=peak, kept=kept)
        if one.peak_bytes <= peak and (best is None or one.seconds < best.seconds):
            best = one
    if best is None:
        raise Infeasible(peak, lower_bound_bytes=0, min_bytes=least if least > peak else None)
    return replace(best, solve_seconds=decision.solve_seconds + time.perf_counter() - began)


def kept_of(stages: TwoStages, corner: Corner) -> dict[Hashable, Choice]:
    """Give the values of a kept set by name.

    >>> from policies.generate import two_tasks
    >>> stages = two_stages(two_tasks())
    >>> kept_of(stages, ClosureCut(stages, 1).solve())
    {'a': <Choice.SAVE: 'save'>}
    """
    return {
        value: Choice.SAVE if corner.saved[i] else Choice.OFFLOAD
        for i in np.flatnonzero(corner.kept).tolist()
        for value in stages.items[i]
    }


def order_of(problem: Problem, kept: Mapping[Hashable, Choice]) -> list[Hashable]:
    """Give the order of a kept set: known tasks once, then each unknown one after what it needs.

    Args:
        problem: with its options already chosen.
        kept: the known values that are kept.

    Raises:
        InvalidDecision: a value is missing that nothing can make again.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=8)
    >>> graph.add_node("b", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edge("a", "b")
    >>> order_of(Problem(graph), {})
    ['a', 'a', 'b']
    """
    stages = two_stages(problem)
    compact = stages.compact
    again = keeping(problem, kept).again
    index = {task: t for t, task in enumerate(compact.tasks)}
    known = [task for task in first_order(problem) if compact.known[index[task]]]
    order = list(known)
    done: set[int] = set()
    for last in (index[task] for task in first_order(problem)):
        if compact.known[last]:
            continue
        stack = [(last, False)]
        while stack:
            task, ready = stack.pop()
            if ready:
                order.append(compact.tasks[task])
                continue
            if task in done:
                continue
            done.add(task)
            stack.append((task, True))
            reads = compact.reads[compact.read_start[task] : compact.read_start[task + 1]]
            makers = dict.fromkeys(compact.value_task[reads].tolist())
            wanted = [m for m in makers if compact.tasks[m] in again and m not in done]
            stack.extend((maker, False) for maker in reversed(wanted))
    return order
