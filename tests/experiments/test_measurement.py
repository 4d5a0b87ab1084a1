"""Measurement: the search for the smallest budget, and equality that is bit for bit."""

import numpy as np
import pytest

import ckpt
from ckpt import Budget, BudgetError
from experiments.measurement import Prepared, identical, side_by_side, smallest_feasible

X = np.linspace(-1, 1, 4096).reshape(64, 64)


def chain(x):
    for _ in range(6):
        x = np.tanh(x)
    return np.sum(x)


def step_for(budget, policy="auto"):
    return ckpt.value_and_grad(chain, budget=budget, policy=policy)


def test_the_smallest_budget_is_met_and_far_below_saving_everything():
    floor = smallest_feasible(step_for, (X,))
    saved = step_for(None, "save_all").plan_for(X)
    assert floor.lower_bound_bytes <= floor.plan.peak_bytes < saved.peak_bytes
    again = step_for(Budget(bytes=floor.plan.peak_bytes)).plan_for(X)
    assert again.peak_bytes <= floor.plan.peak_bytes
    with pytest.raises(BudgetError):
        step_for(Budget(bytes=floor.lower_bound_bytes - 1)).plan_for(X)


def test_probes_only_help():
    first = smallest_feasible(step_for, (X,), probes=0)
    more = smallest_feasible(step_for, (X,), probes=4)
    assert more.plan.peak_bytes <= first.plan.peak_bytes


def test_a_reserve_counts():
    plain = smallest_feasible(step_for, (X,), probes=0)
    kept = smallest_feasible(step_for, (X,), reserve=10_000, probes=0)
    assert kept.plan.reserve_bytes == 10_000
    assert kept.plan.peak_bytes >= plain.lower_bound_bytes + 10_000


def test_a_step_that_is_prepared_gives_the_results_of_a_call():
    step = step_for(None, "save_all")
    prepared = Prepared.of(step, X)
    prepared.run()
    value, grad = step(X)
    assert identical(prepared.results, (value, grad))
    assert prepared.peak_bytes() <= prepared.executable.plan.peak_bytes


def test_side_by_side_runs_both_in_turns():
    first, second = Prepared.of(step_for(None), X), Prepared.of(step_for(None, "save_all"), X)
    seconds = side_by_side(first, second, 3)
    assert all(s > 0 for s in seconds)
    assert first.executable.stats.steps == second.executable.stats.steps == 4


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ([np.array([1.0, np.nan])], [np.array([1.0, np.nan])], True),
        ([np.array([0.0])], [np.array([-0.0])], False),
        ([np.array([1.0])], [np.array([1.0], np.float32)], False),
        ([np.zeros((2, 1))], [np.zeros((1, 2))], False),
        ([np.zeros(1)], [np.zeros(1), np.zeros(1)], False),
        ([np.array(1.0)], [np.array(np.nextafter(1.0, 2.0))], False),
    ],
)
def test_identical_is_bit_for_bit(left, right, same):
    assert identical(left, right) == same
