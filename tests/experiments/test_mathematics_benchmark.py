"""The benchmark of elementary functions, and the truth that it is held against."""

import numpy as np
import pytest

from experiments.mathematics_benchmark import benchmark, row_of
from experiments.truth import LONG, truth, ulps


def test_a_row_has_times_and_errors():
    row = row_of("exp", np.float32, repeat=1)
    assert row.ours > 0
    assert row.numpys > 0
    assert 0 < row.our_error <= 4
    assert 0 < row.numpys_error <= 4


def test_the_command_prints_a_table_and_knows_its_functions(capsys):
    assert benchmark("tanh", repeat=1) == 0
    assert "tanh" in capsys.readouterr().out
    assert benchmark("tanhh", repeat=1) == 1
    assert "no function tanhh" in capsys.readouterr().out


@pytest.mark.skipif(not LONG, reason="longdouble is f64 here")
def test_the_error_function_agrees_with_known_values():
    """Source: Abramowitz, Stegun. Handbook of Mathematical Functions, tables 7.1 and 7.3, 1964."""
    x = np.array([0.0, 0.5, 1.0, 2.0])
    known = np.array([0.0, 0.5204998778, 0.8427007929, 0.9953222650])
    np.testing.assert_allclose(truth("erf", x).astype(float), known, rtol=0, atol=6e-11)
    np.testing.assert_allclose(truth("erfc", x).astype(float), 1 - known, rtol=0, atol=6e-11)
    # the series and the fraction agree where both hold
    x = np.linspace(1, 2, 50)
    both = truth("erf", x) + truth("erfc", x)
    assert np.abs(both - 1).max() < 1e-18
    assert truth("erfc", np.array([-np.inf, np.inf])).tolist() == [2, 0]


def test_errors_count_last_places():
    one = np.float32(1)
    got = np.array([one, np.nextafter(one, np.float32(2)), np.inf, np.nan, np.nan, 0], np.float32)
    want = np.array([1.0, 1.0, 2.0**128, np.nan, 1.0, 2.0**-149])
    assert ulps(got, want).tolist() == [0, 1, 0, 0, np.inf, 1]
