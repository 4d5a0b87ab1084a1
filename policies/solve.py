"""One door to all policies: it chooses options, judges the winner and explains a refusal."""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable
from dataclasses import replace

from policies.budget import LARGEST_BYTES, Budget
from policies.decision import Decision, Status
from policies.errors import Infeasible, InvalidDecision, InvalidProblem, PolicyError, Stopped
from policies.evaluate import evaluate, save_all_peak
from policies.floor import Floor, floor
from policies.greedy import smallest_peak
from policies.judge import SLACK, baseline_seconds, judged, lifted_bound
from policies.policy import Limits, Policy, Progress, policy_named
from policies.problem import Problem

__all__ = ["solve"]

ENUMERATED = 64
"""Option groups with at most this many combinations are tried one by one."""


def solve(
    problem: Problem,
    policy: str | Policy = "auto",
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Decision:
    """Find a plan that fits the budget.

    The winner is priced again from scratch by the referee, whoever made it.

    Args:
        problem: what to plan, and its budget.
        policy: a name, or any callable that is a Policy.
        limits: when to stop.
        progress: is called with news.

    Returns:
        The decision, with a certified bound.

    Raises:
        Infeasible: proved, or none found; it says which.
        InvalidProblem: there is no such policy.
        InvalidDecision: the policy gave an order that cannot be run.

    >>> import networkx as nx
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=1, bytes=4)
    >>> graph.add_edge("a", "b")
    >>> solve(Problem(graph, budget=8), "greedy").seconds
    2.0
    >>> solve(Problem(graph, budget=7), "greedy")
    Traceback (most recent call last):
    ...
    policies.errors.Infeasible: no plan fits 7 B: proved, at least 8 B are needed
      alive together at b: a (4 B), b (4 B)
      a budget of 8 B (8 B) is known to work
    """
    limits = limits or Limits()
    relative = problem.limit.overhead is not None or problem.limit.fraction is not None
    if problem.loads is not None and relative:
        raise InvalidProblem(
            "with stages apart there is no peak that saves everything, to be a part of: give the "
            "budget in bytes, as Budget(peak=..., rest=..., resident=...)"
        )
    if policy == "auto" and _asks_what_to_keep(problem):
        policy = "staging"
    engine = policy_named(policy) if isinstance(policy, str) else policy
    if problem.limit.overhead is not None:
        return _least_memory(problem, engine, limits, progress)
    if problem.options:
        return _with_options(problem, engine, limits, progress)
    return _one(problem, engine, limits, progress)


def _asks_what_to_keep(problem: Problem) -> bool:
    """Tell if the question is what to keep between two stages, and not what is alive at once."""
    limit = problem.limit
    if problem.loads is not None:
        return True
    capped = limit.bytes is not None or limit.fraction is not None or limit.peak is not None
    return not capped and (limit.rest is not None or limit.resident is not None)


def _one(problem: Problem, engine: Policy, limits: Limits, progress: Progress | None) -> Decision:
    """Solve a problem without open options and check the answer."""
    began = time.perf_counter()
    budget = problem.limit.resolve(problem)
    apart = problem.loads is not None  # then the peak is of the late stage alone
    least = Floor(0, None, ()) if apart else floor(problem)
    if budget < least.bytes:
        raise _refusal(budget, least, smallest_peak(problem))
    try:
        found = engine(problem, limits=limits, progress=progress)
    except Infeasible as error:
        # nothing caps the peak, or the policy saw to it: it is about what crosses
        if budget >= LARGEST_BYTES or apart:
            raise
        known = error.min_bytes
        if known is None or known <= budget:
            known = smallest_peak(problem)
        known = known if known > budget else None
        bound = max(least.bytes, error.lower_bound_bytes)
        mine = error.lower_bound_bytes <= least.bytes
        raise Infeasible(
            budget,
            lower_bound_bytes=bound,
            min_bytes=known,
            witness=least.witness if mine else error.witness,
            task=least.task if mine else error.task,
            proved=error.proved or budget < bound,
        ) from None
    judgement = judged(
        problem,
        found.order,
        policy=found.policy,
        budget_bytes=budget,
        bound_engine=found.bound_engine,
        status=found.status,
        kept=found.kept,
    )
    if judgement.peak_bytes > budget or not _crossing_fits(problem, found):
        raise _refusal(budget, least, judgement.peak_bytes)
    bound = max(judgement.bound_seconds, min(found.bound_seconds, judgement.seconds))
    met = judgement.seconds <= bound * (1 + SLACK)
    trivial = bound <= lifted_bound(problem, 0.0)
    return replace(
        judgement,
        bound_seconds=bound,
        bound_engine="every task runs once" if trivial else found.bound_engine,
        status=Status.OPTIMAL if met else _not_proved(found.status),
        solve_seconds=time.perf_counter() - began,
    )


def _not_proved(status: Status) -> Status:
    return Status.FEASIBLE if status is Status.OPTIMAL else status


def _crossing_fits(problem: Problem, found: Decision) -> bool:
    """Tell if the caps on what crosses between the stages are kept."""
    rest, resident = problem.limit.rest, problem.limit.resident
    if rest is None and resident is None:
        return True
    result = evaluate(problem, found)
    fits = rest is None or result.crossing_bytes <= rest
    return fits and (resident is None or result.fast_crossing_bytes <= resident)


def _refusal(budget: int, least: Floor, known: int | None) -> Infeasible:
    return Infeasible(
        budget,
        lower_bound_bytes=least.bytes,
        min_bytes=known if known is not None and known > budget else None,
        witness=least.witness,
        task=least.task,
        proved=budget < least.bytes,
    )


def _with_options(
    problem: Problem, engine: Policy, limits: Limits, progress: Progress | None
) -> Decision:
    """Choose one option of each group: all combinations, or one group at a time if too many.

    The bound is that of the best combination when all were tried; otherwise the seconds of every
    task once, each at its cheapest.
    """
    began = time.perf_counter()
    groups = list(problem.options)
    counts = [len(problem.options[group]) for group in groups]
    total = 1
    for count in counts:
        total = min(total * count, ENUMERATED + 1)
    tried: dict[tuple[int, ...], Decision | Infeasible] = {}

    def attempt(pick: tuple[int, ...]) -> float:
        if pick not in tried:
            names = _names(problem, groups, pick)
            budget = problem.limit.resolve(problem)
            try:
                one = problem.choose(names).with_budget(_absolute(problem, budget))
                tried[pick] = _one(one, engine, limits, progress)
            except Infeasible as error:
                tried[pick] = error
        found = tried[pick]
        return found.seconds if isinstance(found, Decision) else float("inf")

    if total <= ENUMERATED:
        for pick in itertools.product(*(range(count) for count in counts)):
            attempt(pick)
    else:
        pick = tuple(0 for _ in groups)
        # nothing fits at first, perhaps: start from the smallest of each group by its floor
        best = attempt(pick)
        improved = True
        while improved:
            improved = False
            for place, count in enumerate(counts):
                for way in range(count):
                    other = (*pick[:place], way, *pick[place + 1 :])
                    if attempt(other) < best:
                        best, pick, improved = attempt(other), other, True
    good = {pick: found for pick, found in tried.items() if isinstance(found, Decision)}
    if not good:
        raise _all_refused([f for f in tried.values() if isinstance(f, Infeasible)], total)
    pick = min(good, key=lambda key: (good[key].seconds, key))
    winner = good[pick]
    names = _names(problem, groups, pick)
    base = baseline_seconds(problem.choose({}))
    if total <= ENUMERATED:
        unproved = any(isinstance(f, Infeasible) and not f.proved for f in tried.values())
        bounds = [found.bound_seconds for found in good.values()]
        bounds += [
            lifted_bound(problem.choose(_names(problem, groups, key)), 0.0)
            for key, found in tried.items()
            if isinstance(found, Infeasible) and not found.proved
        ]
        bound = min(bounds)
        engine_name = "all combinations of options" if not unproved else "every task runs once"
    else:
        bound, engine_name = _cheapest_bound(problem), "every task runs once, at its cheapest"
    bound = min(bound, winner.seconds)
    met = winner.seconds <= bound * (1 + SLACK)
    return replace(
        winner,
        options=names,
        baseline_seconds=base,
        bound_seconds=bound,
        bound_engine=winner.bound_engine if bound == winner.bound_seconds else engine_name,
        status=Status.OPTIMAL if met else _not_proved(winner.status),
        solve_seconds=time.perf_counter() - began,
    )


def _absolute(problem: Problem, budget: int) -> Budget:
    """Give the same cap for every combination: a fraction refers to the first of each group."""
    return replace(problem.limit, bytes=budget, fraction=None)


def _names(problem: Problem, groups: list[Hashable], pick: tuple[int, ...]) -> dict[Hashable, str]:
    return {g: problem.options[g][way].name for g, way in zip(groups, pick, strict=True)}


def _cheapest_bound(problem: Problem) -> float:
    """Give the seconds of every task once, each at its cheapest option."""
    bare = problem.choose({})
    saved = 0.0
    for ways in problem.options.values():
        for task in {task for way in ways for task in way.tasks}:
            nodes = bare.graph.nodes
            now = float(nodes[task]["seconds"])
            cost = [float(way.tasks.get(task, {}).get("seconds", now)) for way in ways]  # pyright: ignore[reportArgumentType]
            saved += now - min(now, *cost)
    factor = max(1.0, problem.calls)
    return max(0.0, lifted_bound(bare, 0.0) - saved * factor)


def _all_refused(refusals: list[Infeasible], total: int) -> Infeasible:
    """Merge the refusals of all combinations into one."""
    tightest = min(refusals, key=lambda error: error.lower_bound_bytes)
    known = [error.min_bytes for error in refusals if error.min_bytes is not None]
    everything = total <= ENUMERATED
    return Infeasible(
        tightest.budget_bytes,
        lower_bound_bytes=tightest.lower_bound_bytes if everything else 0,
        min_bytes=min(known) if known else None,
        witness=tightest.witness,
        task=tightest.task,
        proved=everything and all(error.proved for error in refusals),
    )


def _least_memory(
    problem: Problem, engine: Policy, limits: Limits, progress: Progress | None
) -> Decision:
    """Find the least budget whose plan takes at most so much more than saving everything."""
    began = time.perf_counter()
    overhead = problem.limit.overhead
    assert overhead is not None
    reserve = problem.limit.reserve
    bare = problem.choose({}) if problem.options else problem
    allowed = baseline_seconds(bare) * (1 + overhead) * (1 + SLACK)
    high = save_all_peak(problem)
    low = floor(bare).bytes if not problem.options else 0
    best: Decision | None = None
    for _ in range(20):
        if best is not None and high - low <= max(1, high // 1000):
            break
        middle = high if best is None else (low + high) // 2
        cap = Budget(bytes=middle, reserve=reserve, rest=problem.limit.rest)
        try:
            found = solve(problem.with_budget(cap), engine, limits=limits, progress=progress)
        except (Infeasible, Stopped):
            found = None
        if found is not None and found.seconds <= allowed:
            best, high = found, min(middle, found.peak_bytes)
        elif best is None:
            raise InvalidDecision("not even saving everything keeps the allowed overhead")
        else:
            low = middle + 1
    if best is None:
        raise PolicyError("no budget was tried")
    return replace(best, solve_seconds=time.perf_counter() - began)
