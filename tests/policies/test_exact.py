"""The exact engines give the optimum, and bounds stay below it."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies import Budget, Infeasible, Limits, Status, solve
from policies.compact import compact_of
from policies.exhaustive import MOST_STATES, exhaustive, states
from policies.generate import random_problem
from policies.policy import policy_named


def compare(problem, engine):
    """One engine against the oracle."""
    try:
        best = exhaustive(problem, limits=Limits())
    except Infeasible as error:
        with pytest.raises(Infeasible) as caught:
            policy_named(engine)(problem, limits=Limits())
        assert error.proved
        assert caught.value.lower_bound_bytes <= error.lower_bound_bytes
        return
    found = policy_named(engine)(problem, limits=Limits())
    assert found.peak_bytes <= problem.limit.resolve(problem)
    assert found.bound_seconds <= best.seconds * (1 + 1e-9)
    assert found.seconds >= best.seconds
    compact = compact_of(problem, 0)
    if (compact.seconds[compact.rerun] > 0).all():
        assert found.status is Status.OPTIMAL
    if found.status is Status.OPTIMAL:
        assert found.seconds == best.seconds


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.sampled_from([0.2, 0.4, 0.6]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.5, 0.65, 0.8, 0.9]),
)
def test_cpsat_is_exact(seed, n, density, rich, fixed, fraction):
    problem = random_problem(
        n if fixed else min(n, 6), seed, density=density, rich=rich, fixed=fixed
    )
    assume(states(compact_of(problem, 0)) <= MOST_STATES)
    compare(problem.with_budget(Budget(fraction=fraction)), "cpsat")


@pytest.mark.long
def test_cpsat_is_exact_on_two_thousand_graphs():
    for seed in range(2000):
        problem = random_problem(
            3 + seed % 7, seed, density=0.3 + 0.1 * (seed % 4), rich=seed % 2 == 0
        )
        if states(compact_of(problem, 0)) <= MOST_STATES:
            compare(problem.with_budget(Budget(fraction=0.5 + 0.1 * (seed % 5))), "cpsat")


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
