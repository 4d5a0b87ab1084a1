"""The policy "offload": recompute some values, send others to slow memory and back.

Values that may not be offloaded never are, and the answer is never worse than the plan without
copies that the search started from. The search is that of ``transfer_search``, the bound that of
``linkbound``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from policies.compact import compact_of, value_names
from policies.cutbound import CutBounder
from policies.decision import Decision, Event, Status
from policies.errors import Infeasible, InvalidProblem, Stopped
from policies.evaluate import sequence_of
from policies.floor import not_found
from policies.judge import judged
from policies.linkbound import link_bound
from policies.playback import machine_of
from policies.policy import Limits, Progress, Step, policy_named, register
from policies.problem import Choice, Problem
from policies.transfer_search import TransferSearch
from policies.transfers import events_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WithCopies", "can_offload", "offload", "with_copies"]

TINY = 7
"""Graphs with at most so many tasks start from the best order without copies."""


def can_offload(problem: Problem) -> bool:
    """Tell whether anything may leave for slow memory.

    >>> import networkx as nx
    >>> from policies.problem import Link
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> can_offload(Problem(graph)), can_offload(Problem(graph, link=Link(8.0)))
    (False, True)
    """
    if problem.link is None:
        return False
    return any(Choice.OFFLOAD in problem.allowed(task) for task in problem.graph)


@register("offload")
def offload(problem: Problem, *, limits: Limits, progress: Progress | None = None) -> Decision:
    """Find a plan that recomputes and offloads, and a bound that holds for both.

    Raises:
        InvalidProblem: there is no link, or nothing may be offloaded.
        Infeasible: no plan was found.

    >>> import networkx as nx
    >>> from policies.problem import Link
    >>> graph = nx.DiGraph()
    >>> for task, size in [("a", 4), ("b", 4), ("c", 6), ("d", 1)]:
    ...     graph.add_node(task, seconds=1, bytes=size)
    >>> graph.add_edges_from([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    >>> problem = Problem(graph, budget=11, link=Link(8.0), first_order=tuple("abcd"))
    >>> found = offload(problem, limits=Limits(work=200))
    >>> found.seconds, found.recomputations
    (4.5, 0)
    """
    if problem.link is None:
        raise InvalidProblem(
            "the policy 'offload' needs a link to slow memory: give one to Problem"
        )
    if not can_offload(problem):
        raise InvalidProblem("the policy 'offload' needs a task that allows Choice.OFFLOAD")
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    compact = compact_of(problem, budget)
    bound = link_bound(machine_of(problem, compact), compact, CutBounder(compact))
    base = float(compact.seconds.sum())
    alone = _without_copies(problem, limits) if compact.n <= TINY else None
    sequence = None if alone is None else sequence_of(compact, alone.order)
    found = with_copies(problem, sequence, limits, progress, base + bound.seconds)
    order = found.order
    if alone is not None and alone.seconds <= found.seconds:
        order = alone.order
    if order is None:
        raise not_found(problem, budget)
    return judged(
        problem,
        order,
        policy="offload",
        budget_bytes=budget,
        bound_seconds=base + bound.seconds,
        bound_engine=bound.engine,
        status=Status.TIME_LIMIT if found.interrupted else Status.FEASIBLE,
        solve_seconds=time.perf_counter() - began,
    )


def _without_copies(problem: Problem, limits: Limits) -> Decision | None:
    """Give the best order without copies; None if there is none or it takes too long to find."""
    try:
        return policy_named("exhaustive")(problem, limits=limits)
    except (Infeasible, Stopped):
        return None


@dataclass(frozen=True, slots=True)
class WithCopies:
    """What a search for copies found.

    Attributes:
        order: the best order, or None if none fits.
        seconds: of it, those of the late part once for each call; infinite if there is none.
        interrupted: Ctrl-C ended the search.
    """

    order: tuple[Event, ...] | None
    seconds: float
    interrupted: bool


def with_copies(
    problem: Problem,
    sequence: NDArray[np.int64] | None,
    limits: Limits,
    progress: Progress | None = None,
    bound_seconds: float = 0.0,
) -> WithCopies:
    """Search for an order with copies, starting from a plan without any.

    Args:
        problem: with a link, options chosen; if its order is free, that of ``sequence`` is kept.
        sequence: a plan without copies, as task indices, or None.
        limits: when to stop; whether Ctrl-C ends the search with the best plan so far.
        progress: is called with news.
        bound_seconds: no plan takes less, for the news and to stop when it is met.

    Returns:
        The best order found.
    """
    began = time.perf_counter()
    compact = compact_of(problem, problem.limit.resolve(problem))
    if compact.free_order:
        first = range(compact.n) if sequence is None else dict.fromkeys(sequence.tolist())
        tasks = [compact.tasks[t] for t in first]
        place = {t: index for index, t in enumerate(first)}
        if sequence is not None:
            sequence = np.array([place[t] for t in sequence.tolist()], np.int64)
        problem = replace(problem, first_order=tuple(tasks))
        compact = compact_of(problem, problem.limit.resolve(problem))

    def tell(seconds: float, peak: int) -> None:
        if progress is not None:
            elapsed = time.perf_counter() - began
            progress(Step(elapsed, "copies", seconds, bound_seconds, peak))

    if "bounder" not in problem.cache:
        problem.cache["bounder"] = CutBounder(compact)
    bounder: CutBounder = problem.cache["bounder"]
    search = TransferSearch(
        machine_of(problem, compact), compact, bounder, limits, tell, bound_seconds
    )
    interrupted = False
    try:
        search.run(sequence)
    except KeyboardInterrupt:
        if search.best is None or not limits.keep_on_interrupt:
            raise
        interrupted = True
    order = None
    if search.best is not None:
        order = events_of(compact, value_names(problem), search.best)
    return WithCopies(order, search.seconds, interrupted)
