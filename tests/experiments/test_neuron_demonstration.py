"""Fitting a neuron through an adaptive integrator."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ckpt
from experiments.demonstrations.demonstration import DemonstrationError
from experiments.demonstrations.neuron import (
    PARAMETERS,
    SAMPLE_MS,
    Neuron,
    draw,
    fit,
    gradients,
    misfit,
    parameters,
    recording,
    slope,
    start,
)

SHORT = Neuron(
    first=3000, samples=90, foretold=10, pulls=(1.0, 0.1), iterations=15, repeat=1,
    budget="6KiB", others=("8KiB",),
)  # fmt: skip


def test_the_gradient_is_that_of_an_integrator_of_scipy():
    config = SHORT.model_copy(update={"tolerance": 1e-4, "longest_ms": 0.05})
    data = recording()[config.first :][: config.samples].copy()
    end, pull = (config.samples - 1) * SAMPLE_MS, 0.3
    random = np.random.default_rng(0)
    x, along = 0.1 * random.normal(size=(2, len(PARAMETERS)))

    def by_scipy(x):
        done = solve_ivp(
            slope(parameters(x), pull, data), (0, end), start(x, data)[2],
            rtol=1e-10, atol=1e-10, max_step=0.05,
        )  # fmt: skip
        return done.y[3, -1] / end + config.prior * np.sum(x * x)

    value, found = ckpt.value_and_grad(misfit(config))(x, np.float64(pull), data)
    np.testing.assert_allclose(value, by_scipy(x), rtol=1e-5)
    numeric = (by_scipy(x + 1e-3 * along) - by_scipy(x - 1e-3 * along)) / 2e-3
    np.testing.assert_allclose(found @ along, numeric, rtol=1e-4)


def test_a_fit_gets_better_and_has_the_same_bits_in_every_budget(tmp_path):
    found = fit(SHORT)
    assert all(losses == sorted(losses, reverse=True) for losses in found.losses)
    assert found.losses[0][-1] < 0.5 * found.losses[0][0]
    rows = gradients(SHORT, found)
    assert rows[0].slots < rows[1].slots
    assert rows[0].again > rows[1].again
    assert rows[0].steps == rows[1].steps > SHORT.samples / 2
    draw(SHORT, found, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_more_samples_than_there_are_are_refused():
    with pytest.raises(DemonstrationError, match="12000 samples"):
        fit(SHORT.model_copy(update={"first": 11_990}))
