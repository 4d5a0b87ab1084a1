"""Random numbers: the same traced and not, fresh per key, and distributed as they should be."""

import numpy as np
import pytest
import scipy.stats

import ckpt.numpy as cnp
from ckpt.errors import TraceError

r = cnp.random
KEY = r.key(0)


def test_the_same_traced(both):
    both(r.key, 5)
    both(
        lambda k: (r.split(k, 3), r.fold_in(k, 7), r.bits(k, (2, 3)), r.bits(k, 5, dtype=np.int64)),
        KEY,
    )
    both(lambda k: (r.uniform(k, (3, 2)), r.uniform(k, 3, dtype=np.float32), r.uniform(k)), KEY)
    both(lambda k, a: r.uniform(k, (3, 2), a, 5), KEY, np.float64([1.0, 2.0]))
    both(lambda k: (r.normal(k, (3, 3)), r.normal(k, 4, dtype=np.float32), r.normal(k, ())), KEY)
    both(lambda k, p: (r.bernoulli(k, p), r.bernoulli(k, 0.1, (2, 2))), KEY, np.float64([0.1, 0.9]))
    both(lambda k, x: r.dropout(k, x, 0.25), KEY, np.ones((4, 5), np.float32))
    both(r.fold_in, KEY, 3)
    both(lambda k: r.normal(k, (0, 3)), KEY)


def test_keys_unpack_and_differ():
    a, b = r.split(KEY)
    draws = [r.uniform(k, 8) for k in (KEY, a, b, r.fold_in(KEY, 0), r.fold_in(KEY, 1), r.key(1))]
    assert len({tuple(d) for d in draws}) == len(draws)


def test_dtypes():
    assert r.uniform(KEY, 2, dtype=np.float32).dtype == np.float32
    assert r.uniform(KEY, 2, 1, 2, dtype=np.float32).dtype == np.float32
    assert r.normal(KEY, 2, dtype=np.float32).dtype == np.float32
    assert r.bernoulli(KEY).dtype == np.bool_
    assert r.dropout(KEY, np.ones(2, np.float32), 0.5).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distributions(dtype):
    n = 20_000
    # A fixed seed: the test is a statement about these numbers, and never fails by chance.
    assert scipy.stats.kstest(r.uniform(KEY, n, dtype=dtype), "uniform").pvalue > 0.01
    assert scipy.stats.kstest(r.normal(KEY, n, dtype=dtype), "norm").pvalue > 0.01
    scaled = r.uniform(KEY, n, -3.0, 5.0, dtype=dtype)
    assert scaled.min() >= -3 and scaled.max() <= 5 and abs(scaled.mean() - 1) < 0.05


def test_dropout_keeps_the_mean_and_drops_the_rate():
    x = r.dropout(KEY, np.ones(50_000), 0.3)
    assert abs((x == 0).mean() - 0.3) < 0.01
    assert set(np.unique(x)) == {0.0, 1 / 0.7}
    np.testing.assert_array_equal(r.dropout(KEY, np.ones(9), 0.0), np.ones(9))


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda: r.uniform(3), "a key is"),
        (lambda: r.uniform(np.zeros(2)), "a key is"),
        (lambda: r.key(0.5), "a seed is one integer"),
        (lambda: r.fold_in(KEY, 1.5), "one integer"),
        (lambda: r.uniform(KEY, 2, dtype=int), "of a float dtype"),
        (lambda: r.bits(KEY, 2, dtype=float), "int32 or int64"),
    ],
)
def test_errors(f, error):
    with pytest.raises(TraceError, match=error):
        f()


def test_rates_are_in_range():
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        r.dropout(KEY, np.ones(2), 1.0)
