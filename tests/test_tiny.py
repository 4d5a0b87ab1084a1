"""The whole thing in a second: trace, derive, plan within a budget, run, same bits."""

import numpy as np
import pytest

import ckpt


def loss(w, x):
    h = x
    for _ in range(6):
        h = np.tanh(h * w) + 0.1 * np.sin(h)
    return np.sum(h * h)


def test_a_gradient_within_a_budget_has_the_bits_of_the_unbudgeted_one():
    random = np.random.default_rng(0)
    w, x = random.standard_normal((2, 40, 10))
    whole = ckpt.value_and_grad(loss)
    value, grad = whole(w, x)
    steepest = np.unravel_index(np.abs(grad).argmax(), grad.shape)
    step = np.zeros_like(w)
    step[steepest] = 1e-6
    slope = (loss(w + step, x) - loss(w - step, x)) / 2e-6
    assert grad[steepest] == pytest.approx(slope, rel=1e-5)  # a difference keeps half the digits
    lean = ckpt.value_and_grad(loss, budget=ckpt.Budget(fraction=0.6))
    again, same = lean(w, x)
    assert again.tobytes() == value.tobytes()
    assert same.tobytes() == grad.tobytes()
    assert lean.plan.peak_bytes <= 0.6 * whole.plan.peak_bytes + 1
    assert lean.plan.seconds > whole.plan.seconds


def test_an_impossible_budget_says_what_would_work():
    with pytest.raises(ckpt.BudgetError, match="alive together") as caught:
        ckpt.value_and_grad(loss, budget="1KiB").plan_for(np.ones((40, 10)), np.ones((40, 10)))
    assert caught.value.min_bytes is not None
    fits = ckpt.value_and_grad(loss, budget=caught.value.min_bytes)
    assert fits.plan_for(np.ones((40, 10)), np.ones((40, 10))).peak_bytes <= caught.value.min_bytes
