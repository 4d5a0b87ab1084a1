"""Long sums of f32 err by little of what they add up, whatever cancels."""

import numpy as np
import pytest

import ckpt


@pytest.mark.parametrize("shape", [(10_000_000,), (100, 100_000)])
def test_a_mean_of_ten_million_is_as_good_as_its_elements(shape):
    """Along rows with lanes, and down columns whose means are then added."""
    x = np.random.default_rng(0).standard_normal(10_000_000, np.float32).reshape(shape)
    x += np.float32(0.01)  # of both signs, and not too well balanced
    mean = ckpt.compile(lambda x: np.mean(np.mean(x, axis=0)))(x)
    assert mean.dtype == np.float32
    exact = np.mean(x, dtype=np.float64)
    assert abs(float(mean) - exact) <= 1e-6 * np.mean(np.abs(x), dtype=np.float64)
