"""Laws of the lower bounds: they never exceed the optimum, nor any plan."""

import itertools

import numpy as np
import pytest

from policies import Infeasible, solve
from policies.compact import compact_of
from policies.cutbound import CutBounder, moments
from policies.evaluate import memory_profile
from policies.gapcover import GapCover
from policies.generate import layered, random_problem
from policies.glance import glance
from policies.mincut import TwoNodeCut, best_price
from policies.proving import StageRounds
from policies.stages import StageProgram

SEEDS = range(60)


def small(seed):
    """A graph of up to seven tasks whose budget lies between the least and the most it needs."""
    problem = random_problem(2 + seed % 6, seed, rich=seed % 3 > 0)
    return problem.with_budget(f"{0.55 + 0.05 * (seed % 9)}x")


def optimum(problem):
    try:
        return solve(problem, "exhaustive")
    except Infeasible:
        return None


@pytest.mark.parametrize("seed", SEEDS)
def test_baseline_memory_is_that_of_the_referee(seed):
    compact = compact_of(small(seed), 0)
    if not compact.hold.all():
        pytest.skip("saving everything is not allowed here")
    order = np.arange(compact.n, dtype=np.int64)
    assert moments(compact).baseline.tolist() == memory_profile(compact, order).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_bounds_never_exceed_the_optimum(seed):
    problem = small(seed)
    best = optimum(problem)
    if best is None:
        pytest.skip("infeasible")
    compact = compact_of(problem, problem.limit.resolve(problem))
    extra = best.seconds - float(compact.seconds.sum())
    slack = 1e-7 * best.seconds
    bounder = CutBounder(compact)
    cut = bounder.bound(compact.budget)
    assert cut.seconds <= extra + slack
    for whole in (True, False):
        cover = GapCover(compact, bounder.moments)
        assert cover.seconds(cover.program(None, 1000, whole=whole).minimise()) <= extra + slack
    first = cut.task if cut.task >= 0 else int(np.argmax(bounder.moments.baseline))
    rounds = StageRounds(compact, bounder.moments, [first], None)
    while not rounds.finished:
        rounds.begin(None)
        found = rounds.answer(float("inf")) if rounds.running else None
        if found is not None:
            assert not found.infeasible
            assert found.seconds <= extra + slack
    everywhere = list(range(compact.n))
    spans = [(p, q) for p in everywhere for q in everywhere[p + 2 :]]
    for transit, whole in ((True, True), (False, True), (False, False)):
        program = StageProgram(
            compact, bounder.moments, everywhere, transit=transit, spans=spans, whole=whole
        )
        found = program.read(program.program(None, 10**4).minimise())
        assert not found.infeasible
        assert found.seconds <= extra + slack


@pytest.mark.parametrize("seed", range(8))
def test_a_relaxed_program_is_no_weaker_than_a_cut_at_any_of_its_stages(seed):
    problem = layered(4, 3, seed).with_budget("0.8x")
    compact = compact_of(problem, problem.limit.resolve(problem))
    bounder = CutBounder(compact)
    stages = sorted(bounder.stages(compact.budget)[:5])
    program = StageProgram(compact, bounder.moments, stages, whole=False)
    relaxed = program.read(program.program(None, None).minimise()).seconds
    for stage in stages:
        room = bounder.room(stage, compact.budget)
        cut, _ = best_price(bounder.network, bounder.need(stage), bounder.weight(stage), room, 0.0)
        assert relaxed >= cut - 1e-4 * compact.seconds.sum()


@pytest.mark.parametrize("seed", range(4))
def test_spans_that_fractions_break_raise_the_relaxed_bound_until_none_is_broken(seed):
    problem = layered(7, 3, seed).with_budget("0.5x")
    compact = compact_of(problem, problem.limit.resolve(problem))
    every = moments(compact)
    stages = np.flatnonzero(every.baseline > compact.budget)[::2].tolist()
    spans: set[tuple[int, int]] = set()
    bounds: list[float] = []
    while True:
        program = StageProgram(compact, every, stages, spans=sorted(spans), whole=False)
        found = program.read(program.program(None, None).minimise())
        bounds.append(found.seconds)
        assert not spans & set(found.torn)
        if not found.torn:
            break
        spans |= set(found.torn)
    assert len(bounds) > 1
    assert bounds[-1] > bounds[0] * 1.001
    assert all(a <= b * (1 + 1e-6) + 1e-9 for a, b in itertools.pairwise(bounds))
    program = StageProgram(compact, every, stages)
    whole = program.read(program.program(None, 2000).minimise())
    if whole.exact:
        assert bounds[-1] <= whole.seconds * (1 + 1e-6)


def test_a_cut_is_a_partition_with_its_price():
    problem = random_problem(6, 1)
    compact = compact_of(problem, 0)
    network = TwoNodeCut(compact)
    need = np.ones(len(compact.value_bytes), np.bool_)
    weight = compact.value_bytes.astype(np.float64)
    cut = network.solve(need, weight, network.natural_price())
    assert not (cut.held & cut.again[compact.value_task]).any()
    assert (cut.held | cut.again[compact.value_task])[need].all()
    price = cut.seconds + network.natural_price() * cut.held_bytes
    assert cut.value <= price * (1 + 1e-9)
    if not cut.infeasible:
        assert cut.value == pytest.approx(price, rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_glance_bounds_the_optimum_from_both_sides(seed):
    problem = small(seed)
    best = optimum(problem)
    lower, upper = glance(problem)
    if best is None:
        assert upper == np.inf
        return
    again = best.seconds - best.baseline_seconds
    slack = 1e-7 * best.seconds
    assert lower <= again + slack
    assert upper >= again - slack
    assert glance(problem, worth=lower)[1] in {upper, np.inf}
