"""The exact engines give the optimum, and bounds stay below it."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies import Budget, Infeasible, Limits, Status, solve
from policies.compact import compact_of
from policies.cpsat import cpsat
from policies.evaluate import save_all_peak
from policies.exhaustive import exhaustive, smallest_budget, states
from policies.generate import random_problem

SMALL = 1 << 15


def between(problem, part):
    """The problem under a budget so far between the least possible and that of saving all."""
    least = smallest_budget(problem)
    most = max(least, save_all_peak(problem))
    return problem.with_budget(least + int(part * (most - least)))


def compare(problem, work):
    """Hold CP-SAT against the oracle; tell if it proved its plan best."""
    best = exhaustive(problem, limits=Limits())
    try:
        found = cpsat(problem, limits=Limits(work=work))
    except Infeasible as error:
        assert not error.proved
        return False
    assert found.peak_bytes <= problem.limit.resolve(problem)
    assert found.bound_seconds <= best.seconds * (1 + 1e-9)
    assert found.seconds >= best.seconds
    if found.status is Status.OPTIMAL:
        assert found.seconds == best.seconds
    return found.status is Status.OPTIMAL


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 7),
    st.sampled_from([0.2, 0.4, 0.6]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.4, 0.8]),
)
def test_bound_below_optimum_below_plan(seed, n, density, rich, fixed, part):
    problem = random_problem(n, seed, density=density, rich=rich, fixed=fixed)
    assume(states(compact_of(problem, 0)) <= SMALL)
    compare(between(problem, part), 200)


def sweep(count, work):
    proved = tried = 0
    for seed in range(count):
        problem = random_problem(
            3 + seed % 7, seed, density=0.3 + 0.1 * (seed % 4), rich=seed % 2 == 0, least_seconds=1
        )
        if states(compact_of(problem, 0)) <= SMALL:
            proved += compare(between(problem, 0.3 + 0.2 * (seed % 4)), work)
            tried += 1
    return proved, tried


def test_most_small_graphs_are_closed():
    proved, tried = sweep(30, 200)
    assert tried >= 25
    assert proved >= 0.8 * tried


@pytest.mark.long
def test_two_thousand_graphs():
    proved, tried = sweep(2200, 60)
    assert tried >= 2000
    assert proved >= 0.9 * tried


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_a_looser_budget_is_never_slower(seed, n):
    problem = random_problem(n, seed)
    last = float("inf")
    for fraction in (0.5, 0.7, 0.9, 1.0, 1.5):
        try:
            found = solve(problem.with_budget(Budget(fraction=fraction)), "exhaustive")
        except Infeasible:
            assert last == float("inf")
            continue
        assert found.seconds <= last
        last = found.seconds
