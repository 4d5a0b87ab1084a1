"""The referee agrees with the definition, and refuses what cannot be run."""

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from naive import naive

from policies import Budget, Infeasible, InvalidDecision, Limits, evaluate
from policies.compact import compact_of
from policies.exhaustive import MOST_STATES, exhaustive, smallest_budget, states
from policies.floor import floor
from policies.generate import random_problem
from policies.pebbling import pebbling_floor
from policies.policy import policy_named

QUICK = ["save_all", "recompute_all", "sqrt", "greedy"]


def shuffled_run(problem, rng, extra):
    """An order that mostly can be run: first runs in order, with repeats thrown in."""
    order = list(problem.first_order or problem.graph)
    for _ in range(extra):
        at = rng.randint(1, len(order))
        order.insert(at, rng.choice(order[:at]))
    return order


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans(), st.integers(0, 4))
def test_agrees_with_the_definition(seed, n, fixed, extra):
    problem = random_problem(n, seed, fixed=fixed)
    order = shuffled_run(problem, random.Random(seed), extra)
    expected = naive(problem, order)
    try:
        found = evaluate(problem, order)
    except InvalidDecision:
        assert expected is None
    else:
        assert (found.peak_bytes, found.seconds) == expected
        assert sum(size for _, size in found.live) + found.workspace_bytes >= found.peak_bytes


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans(), st.floats(0.3, 1.0))
def test_floor_and_bound_below_optimum_below_every_plan(seed, n, fixed, fraction):
    problem = random_problem(n, seed, fixed=fixed).with_budget(Budget(fraction=fraction))
    assume(states(compact_of(problem, 0)) <= MOST_STATES)
    least = smallest_budget(problem)
    assert floor(problem).bytes <= pebbling_floor(problem).bytes <= least
    try:
        best = exhaustive(problem, limits=Limits())
    except Infeasible as error:
        assert error.proved
        assert error.min_bytes == least > problem.limit.resolve(problem)
        best = None
    for name in QUICK:
        try:
            plan = policy_named(name)(problem, limits=Limits())
        except Infeasible as error:
            assert best is None or not error.proved
            assert error.min_bytes >= least
            continue
        assert best is not None
        assert plan.peak_bytes <= problem.limit.resolve(problem)
        assert best.bound_seconds <= best.seconds <= plan.seconds
        assert naive(problem, plan.order) == (plan.peak_bytes, plan.seconds)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(0, 10**6))
def test_a_corrupted_order_is_refused_or_priced_as_defined(seed, n, where):
    problem = random_problem(n, seed, density=0.6, rich=False)
    order = list(problem.first_order)
    at = where % n
    for broken in (order[:at] + order[at + 1 :], [*order, "stranger"], order[at:] + order[:at]):
        if broken == order:
            continue
        with pytest.raises(InvalidDecision):
            evaluate(problem, broken)
