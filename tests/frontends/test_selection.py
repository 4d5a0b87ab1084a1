"""where, clip, select, closeness and rounding against NumPy."""

import numpy as np
import pytest

X = np.asarray([[-2.5, -0.5, 0.0], [0.5, 1.5, 7.25]], np.float32)
WILD = np.asarray([1.0, np.nan, np.inf, -np.inf, 0.0, -2.0])


def test_where(same):
    same(lambda x: (np.where(x > 0, x, 0), np.where(x > 0, 1, -1), np.where(x, x[0], 2.0)), X)
    same(
        lambda x: (np.where(x[:, :1] > 0, x, np.arange(3)), np.where([True, False, True], x, 1)), X
    )
    same(lambda m: np.where(m, 1, 2), np.asarray([1, 0, 2]))


def test_clip(same):
    same(lambda x: (np.clip(x, 0, 1), x.clip(-1, 1), np.clip(x, None, 1), np.clip(x, x[0], 5)), X)
    same(lambda x: (np.clip(x, a_min=0, a_max=None), x.clip(max=1), np.clip(x, 0.5, 1)), X)
    same(lambda x: np.clip(x, 0, 3), np.asarray([-1, 2, 9], np.int32))


def test_select(same):
    same(lambda x: np.select([x > 1, x > 0], [x, x * 2], -1), X)
    same(lambda x: np.select([x > 1], [x.astype("f8")]), X)


def test_closeness(same):
    same(lambda x: (np.isclose(x, x + 1e-9), np.isclose(x, WILD, equal_nan=True)), WILD)
    same(lambda x: (np.allclose(x, x), np.allclose(x, x, equal_nan=True)), WILD)
    same(lambda x: (np.array_equal(x, x * 1), np.array_equal(x, WILD, equal_nan=True)), WILD)
    same(lambda x: (np.isposinf(x), np.isneginf(x), np.nan_to_num(x)), WILD)
    same(lambda x: np.nan_to_num(x, nan=1.0, posinf=2.0, neginf=3.0), WILD.astype("f4"))
    same(np.nan_to_num, np.asarray([1, 2]))


@pytest.mark.parametrize("decimals", [0, 1, 2, -1])
def test_round(same, decimals):
    same(lambda x: (np.round(x, decimals), x.round(decimals), np.around(x, decimals)), X * 3.7)
    same(lambda x: (np.fix(x), np.sinc(x), round(x[0, 0]) if False else x), X)
