"""Programs as arrays: the answer is the same here and in another process, which may be stopped."""

import time

import numpy as np
import pytest

from policies.milp import Rows, minimise
from policies.milp_solver import Here, Program, There


def knapsack(seed, n=12):
    """The dearest things that fit, as a minimisation, and its rows."""
    rng = np.random.default_rng(seed)
    rows = Rows()
    rows.single(np.arange(n), rng.integers(1, 9, n).astype(float), -np.inf, 20.0)
    return -rng.integers(1, 9, n).astype(float), rows


def waited(solver):
    for _ in range(3000):
        found = solver.answer()
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("no answer in half a minute")


@pytest.mark.parametrize("seed", range(6))
def test_integers_equal_brute_force_and_fractions_bound_them(seed):
    cost, rows = knapsack(seed)
    matrix, _, high = rows.matrix(len(cost))
    picks = (np.arange(2 ** len(cost))[:, None] >> np.arange(len(cost))) & 1
    best = (picks @ cost)[picks @ matrix.toarray()[0] <= high[0]].min()
    zero, one = np.zeros(len(cost)), np.ones(len(cost))
    whole = minimise(cost, zero, one, rows, integral=one > 0)
    assert whole.optimal
    assert whole.bound == pytest.approx(best)
    assert cost @ whole.x == pytest.approx(best)
    assert minimise(cost, zero, one, rows).bound <= best + 1e-9


def test_another_process_gives_the_same_answers_one_after_another():
    there = There()
    try:
        for seed in range(2):
            cost, rows = knapsack(seed)
            zero, one = np.zeros(len(cost)), np.ones(len(cost))
            program = Program(cost, zero, one, rows, one > 0, 10.0)
            there.begin(program)
            here = Here()
            here.begin(program)
            assert waited(there).bound == pytest.approx(here.answer().bound)
    finally:
        there.close()


def test_infeasible_is_said():
    rows = Rows()
    rows.single([0], [1.0], 2.0, np.inf)
    assert minimise(np.ones(1), np.zeros(1), np.ones(1), rows).infeasible


def test_a_solver_that_dies_is_an_error_and_not_a_hang():
    there = There()
    there.start()
    there._process.kill()
    cost, rows = knapsack(0)
    there.begin(Program(cost, np.zeros(len(cost)), np.ones(len(cost)), rows))
    with pytest.raises(RuntimeError, match="ended without an answer"):
        waited(there)
    there.close()
    there.close()
