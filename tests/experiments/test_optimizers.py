"""Optimizers against arithmetic done by hand, and inside a compiled step."""

import numpy as np
import pytest

import ckpt
from experiments.optimizers import Adam, Sgd
from experiments.training import make_training_step

PARAMS = {"w": np.array([1.0, -2.0]), "b": np.array(0.5)}
GRADS = {"w": np.array([0.5, 0.25]), "b": np.array(-1.0)}


def test_sgd_by_hand():
    sgd = Sgd(rate=0.1, momentum=0.5)
    params, state = sgd.update(GRADS, sgd.init(PARAMS), PARAMS)
    params, state = sgd.update(GRADS, state, params)
    assert np.allclose(state["w"], 1.5 * GRADS["w"], rtol=1e-14)
    assert np.allclose(params["w"], PARAMS["w"] - 0.1 * 2.5 * GRADS["w"], rtol=1e-14)


def test_the_first_adam_step_has_the_size_of_the_rate():
    adam = Adam(rate=0.01, epsilon=1e-30)
    params, state = adam.update(GRADS, adam.init(PARAMS), PARAMS)
    assert np.allclose(params["w"], PARAMS["w"] - 0.01 * np.sign(GRADS["w"]), rtol=1e-12)
    assert np.allclose(params["b"], 0.51, rtol=1e-12)
    assert state["steps"] == 1


def test_adam_by_the_formulas_of_the_paper():
    adam = Adam(rate=0.02, beta1=0.8, beta2=0.9, decay=0.1)
    x, m, v = 1.5, 0.0, 0.0
    params, state = np.array(x), adam.init(np.array(x))
    for t in range(1, 6):
        g = 2 * x
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        denominator = np.sqrt(v) + 1e-8
        rate = 0.02 * np.sqrt(1 - 0.9**t) / (1 - 0.8**t)
        params, state = adam.update(2 * params, state, params)
        x = (1 - 0.002) * x - rate * m / denominator
        assert np.allclose(params, x, rtol=1e-13)


def test_the_rate_falls_to_zero_and_stays_there():
    adam = Adam(rate=0.01, epsilon=1e-30, anneal=2)
    params, state = PARAMS, adam.init(PARAMS)
    moves = []
    for _ in range(4):
        before = params
        params, state = adam.update(GRADS, state, params)
        moves.append(float(params["b"] - before["b"]))
    # a constant gradient moves a parameter by the rate itself
    assert np.allclose(moves, [0.01, 0.005, 0, 0], rtol=1e-12)


@pytest.mark.parametrize(
    "optimizer", [Adam(rate=0.05, decay=0.1, anneal=9), Sgd(rate=0.05)], ids=lambda o: o.name
)
def test_a_compiled_training_step_is_the_plain_one(optimizer):
    def loss(params, x):
        return np.mean((x @ params["w"] + params["b"]) ** 2)

    random = np.random.default_rng(0)
    x = random.normal(size=(6, 2))
    step = ckpt.compile(make_training_step(loss, optimizer))
    params, state = PARAMS, optimizer.init(PARAMS)
    plain, plain_state = PARAMS, optimizer.init(PARAMS)
    for _ in range(3):
        value, params, state = step(params, state, x)
        residual = x @ plain["w"] + plain["b"]
        grads = {"w": 2 * x.T @ residual / 6, "b": 2 * np.mean(residual)}
        assert np.allclose(value, loss(plain, x), rtol=1e-12)
        plain, plain_state = optimizer.update(grads, plain_state, plain)
    assert np.allclose(params["w"], plain["w"], rtol=1e-12)
    assert np.allclose(params["b"], plain["b"], rtol=1e-12)
