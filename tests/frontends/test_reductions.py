"""Reductions and running totals against NumPy, over dtypes, axes and empty arrays."""

import numpy as np
import pytest

from ckpt.errors import UnsupportedOpError

DTYPES = ("f4", "f8", "i4", "i8", "?")
FUNCTIONS = ("sum", "prod", "mean", "max", "min", "amax", "amin", "all", "any", "std", "var", "ptp")
CASES = [
    ((2, 3, 4), axis, keepdims)
    for axis in (None, 0, -1, (0, 2), (1,), ())
    for keepdims in (False, True)
] + [((), None, False), ((0, 3), 0, False), ((3, 0), 0, True), ((1, 1), None, True)]


def draw(dtype, shape, seed=0):
    return np.asarray(np.random.default_rng(seed).integers(-3, 4, shape)).astype(dtype)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reduction(same, run, name, dtype):
    f = getattr(np, name)
    for shape, axis, keepdims in CASES:
        x = draw(dtype, shape)
        try:
            f(x, axis=axis, keepdims=keepdims)
        except (ValueError, TypeError) as refused:
            with pytest.raises(type(refused)):
                run(lambda x: f(x, axis=axis, keepdims=keepdims), x)
            continue
        same(lambda x: f(x, axis=axis, keepdims=keepdims), x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES)
def test_places(same, dtype):
    x = draw(dtype, (2, 5, 3))
    for f in (np.argmax, np.argmin):
        same(lambda x: (f(x), f(x, axis=1), f(x, -1, keepdims=True), f(x, keepdims=True)), x)
    same(lambda x: (x.argmax(0), x.argmin()), x)
    same(np.argmax, np.asarray([1.0, np.nan, 3.0, np.nan]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_totals(same, dtype):
    x = draw(dtype, (2, 5, 3))
    same(lambda x: (np.cumsum(x), np.cumsum(x, 1), x.cumsum(-1), np.add.accumulate(x, 2)), x)
    same(lambda x: (np.cumprod(x), np.cumprod(x, 0), np.multiply.accumulate(x)), x)
    same(lambda x: np.cumsum(x, 1, dtype=np.float32), x)


def test_parameters(same):
    x, mask = draw("f4", (3, 4)), np.arange(12).reshape(3, 4) % 3 == 0
    same(
        lambda x: (np.sum(x, initial=2), np.sum(x, 0, dtype=np.float64), x.sum(-1, keepdims=True)),
        x,
    )
    same(lambda x, m: (np.sum(x, 1, where=m), np.mean(x, 1, where=m), np.prod(x, where=m)), x, mask)
    same(lambda x, m: (np.max(x, 1, where=m, initial=-9), np.min(x, initial=-9)), x, mask)
    same(lambda x, m: (np.any(m, 0, where=x > 0), np.all(m, where=x > 0)), x, mask)
    same(lambda x: (np.std(x, 1, ddof=1), np.var(x, ddof=2), np.var(x, correction=1)), x)
    same(lambda x: np.var(x, 1, mean=np.mean(x, 1, keepdims=True)), x)
    same(lambda x, m: np.var(x, 1, where=m), x, mask)
    same(lambda x: (np.prod(x, initial=3), np.count_nonzero(x, 1), x.max(), x.mean(0)), x)


def test_averages(same):
    x, w = draw("f8", (3, 4)), np.arange(1.0, 5)
    same(lambda x, w: (np.average(x, 1, w), np.average(x), np.average(x, 0)), x, w)
    same(lambda x, w: np.average(x, 1, w, returned=True), x, w)
    same(lambda x, w: np.average(x, weights=x * x + w, keepdims=True), x, w)
    same(lambda x: np.average(x, 1, [1, 2, 3, 4]), x.astype("i4"))


def test_nan(same):
    x = np.asarray([[1.0, np.nan, 3.0], [np.nan, 5.0, 6.0]])
    same(lambda x: (np.nansum(x), np.nansum(x, 1), np.nanmean(x, 0), np.nanmean(x, 1)), x)
    same(lambda x: (np.max(x, 0), np.min(x), np.sum(x, 1), np.median(x, 0)), x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES[:4])
def test_order(same, dtype):
    x = np.random.default_rng(1).permutation(60).reshape(3, 4, 5).astype(dtype)
    same(lambda x: (np.sort(x), np.sort(x, 0), np.sort(x, None), np.argsort(x, 1)), x)
    same(lambda x: (np.median(x), np.median(x, 1), np.median(x, -1, keepdims=True)), x)
    same(lambda x: np.median(x[0, 0]), x)


def test_ufunc_methods(same, run):
    x = draw("f8", (3, 4))
    same(lambda x: (np.add.reduce(x), np.add.reduce(x, None), np.multiply.reduce(x, 1)), x)
    same(lambda x: (np.maximum.reduce(x, 1, keepdims=True), np.minimum.reduce(x)), x)
    same(lambda x: (np.logical_and.reduce(x > 0), np.logical_or.reduce(x > 0, 1)), x)
    same(lambda x: (np.subtract.outer(x, x[0]), np.multiply.outer(np.arange(2), x)), x)
    with pytest.raises(UnsupportedOpError, match=r"np\.subtract\.reduce has no rule"):
        run(np.subtract.reduce, x)
    with pytest.raises(UnsupportedOpError, match=r"np\.maximum\.accumulate has no rule"):
        run(np.maximum.accumulate, x)
