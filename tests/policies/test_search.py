"""Laws of the search: its memory is the referee's, moves can be undone, plans fit."""

import numpy as np
import pytest

from policies.compact import compact_of
from policies.cutbound import CutBounder, moments
from policies.cutgrid import CutGrid
from policies.evaluate import memory_profile, simulate
from policies.generate import chain, layered, random_problem, skips
from policies.lifetimes import (
    COUNT,
    LIVE,
    STAGE,
    TASK,
    add,
    lifetimes,
    pairs_of,
    remove,
    replace_all,
    to_pairs,
    to_sequence,
)
from policies.recompute_sets import SetSearch


def peaks_by_stage(compact, sequence):
    """The highest memory from after each first execution to the next."""
    memory = memory_profile(compact, sequence)
    firsts = [int(np.flatnonzero(sequence == task)[0]) for task in range(compact.n)]
    starts = [0, *(first + 1 for first in firsts[:-1])]
    return [int(memory[a : b + 1].max()) for a, b in zip(starts, firsts, strict=True)]


def problems():
    for seed in range(25):
        yield random_problem(2 + seed % 8, seed, rich=seed % 3 > 0)
    yield from (chain(6), layered(3, 3, 1), skips(4))


@pytest.mark.parametrize("problem", list(problems()))
def test_memory_of_a_set_is_that_of_the_referee(problem):
    rng = np.random.default_rng(3)
    compact = compact_of(problem, 0)
    if not compact.hold.all():
        pytest.skip("saving everything is not allowed here")
    plan = lifetimes(compact, moments(compact).baseline, compact.n**2)
    able = np.flatnonzero(compact.rerun)
    able = able[able < compact.n - 1]
    for _ in range(40):
        count = int(plan.num[COUNT])
        if len(able) and (count == 0 or rng.random() < 0.6):
            task = int(rng.choice(able))
            add(*plan.arrays, int(rng.integers(task + 1, compact.n)), task)
        elif count:
            remove(*plan.arrays, int(plan.ev[rng.integers(count), LIVE]))
        pairs = pairs_of(plan)
        sequence = to_sequence(compact.n, pairs)
        assert to_pairs(compact.n, sequence).tolist() == pairs.tolist()
        assert plan.peak.tolist() == peaks_by_stage(compact, sequence)
        assert plan.excess == sum(max(0, peak - compact.budget) for peak in plan.peak.tolist())
        extra = simulate(compact, sequence).seconds - float(compact.seconds.sum())
        assert plan.seconds == pytest.approx(extra, abs=1e-9)


@pytest.mark.parametrize("fraction", [0.9, 0.7, 0.5])
@pytest.mark.parametrize("problem", [chain(12), layered(4, 3, 2), skips(5)])
def test_every_plan_of_the_search_fits(problem, fraction):
    problem = problem.with_budget(f"{fraction}x")
    compact = compact_of(problem, problem.limit.resolve(problem))
    bounder = CutBounder(compact)
    bound = bounder.bound(compact.budget)
    search = SetSearch(compact, bounder.moments.baseline, 0, 3 * bound.price)
    for pairs, _ in CutGrid(bounder, compact, max(bound.task, 0), bound.price).plans((1, 2, 4)):
        search.start(pairs)
        search.fill()
    search.run(3000, 1.0, 0.01)
    if np.isfinite(search.best_seconds):
        outcome = simulate(compact, to_sequence(compact.n, search.best_pairs()))
        assert outcome.peak <= compact.budget
        extra = outcome.seconds - float(compact.seconds.sum())
        assert extra == pytest.approx(search.best_seconds)
        assert extra >= bound.seconds * (1 - 1e-9)


def test_the_search_is_a_function_of_its_seed():
    problem = layered(4, 3, 5).with_budget("0.6x")
    compact = compact_of(problem, problem.limit.resolve(problem))
    found = []
    for seed in (1, 1, 2):
        search = SetSearch(compact, moments(compact).baseline, seed, 1e-3)
        search.run(2000, 1.0, 0.1)
        found.append((pairs_of(search.plan).tolist(), search.plan.seconds))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_loading_a_plan_replaces_the_old_one():
    problem = chain(6)
    compact = compact_of(problem, 0)
    plan = lifetimes(compact, moments(compact).baseline, 100)
    replace_all(*plan.arrays, np.array([[9, 2], [8, 3]]))
    replace_all(*plan.arrays, np.array([[10, 1]]))
    assert pairs_of(plan).tolist() == [[10, 1]]
    event = int(plan.ev[0, LIVE])
    assert (plan.ev[event, STAGE], plan.ev[event, TASK]) == (10, 1)
