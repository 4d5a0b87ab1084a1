"""`ckpt.numpy` against SciPy, NumPy and direct definitions."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import ckpt.numpy as cnp
from ckpt.errors import TraceError

random = np.random.default_rng(0)
X = random.normal(size=(2, 3, 7, 8))
WILD = np.asarray([[0.0, -np.inf, 3.0], [1e4, -1e4, 0.0], [np.inf, 1.0, 2.0], [np.nan, 0.0, 1.0]])


def direct_conv(x, w, stride, padding, dilation, groups):
    (sh, sw), (dh, dw) = stride, dilation
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    n, _, h, wide = x.shape
    k, cg, r, s = w.shape
    i, j = (h - dh * (r - 1) - 1) // sh + 1, (wide - dw * (s - 1) - 1) // sw + 1
    out = np.zeros((n, k, i, j))
    for g in range(groups):
        for o in range(g * k // groups, (g + 1) * k // groups):
            for a in range(cg):
                for p in range(r):
                    for q in range(s):
                        cut = x[:, g * cg + a, p * dh : p * dh + (i - 1) * sh + 1 : sh]
                        out[:, o] += (
                            w[o, a, p, q] * cut[..., q * dw : q * dw + (j - 1) * sw + 1 : sw]
                        )
    return out


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({}, ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)),
        ({"stride": 2, "padding": 1}, ((2, 2), ((1, 1), (1, 1)), (1, 1), 1)),
        ({"padding": "SAME"}, ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)),
        ({"stride": (2, 3), "padding": "SAME"}, ((2, 3), ((1, 1), (0, 1)), (1, 1), 1)),
        ({"padding": "VALID", "dilation": (2, 1)}, ((1, 1), ((0, 0), (0, 0)), (2, 1), 1)),
        ({"padding": (0, (2, 1)), "groups": 3}, ((1, 1), ((0, 0), (2, 1)), (1, 1), 3)),
    ],
)
def test_conv2d(both, given, plain):
    w = random.normal(size=(6, 3 // plain[3], 3, 3))
    found = both(lambda x, w: cnp.conv2d(x, w, **given), X, w)
    np.testing.assert_allclose(found, direct_conv(X, w, *plain), rtol=1e-12, atol=1e-12)


def test_conv2d_promotes(both):
    w = np.ones((1, 3, 2, 2), np.float32)
    assert both(cnp.conv2d, X.astype("f4"), w).dtype == np.float32
    assert both(cnp.conv2d, X, w).dtype == np.float64
    assert (
        both(cnp.conv2d, np.ones((1, 3, 4, 4), int), np.ones((1, 3, 2, 2), int)).dtype == np.float64
    )


def windows(x, size, stride, padding, fill):
    x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, size, (2, 3))
    return view[:, :, :: stride[0], :: stride[1]]


@pytest.mark.parametrize(
    ("size", "given", "plain"),
    [
        (2, {}, ((2, 2), (2, 2), ((0, 0), (0, 0)))),
        ((3, 2), {"stride": 1}, ((3, 2), (1, 1), ((0, 0), (0, 0)))),
        (3, {"stride": 2, "padding": 1}, ((3, 3), (2, 2), ((1, 1), (1, 1)))),
        (3, {"stride": 2, "padding": "SAME"}, ((3, 3), (2, 2), ((1, 1), (0, 1)))),
    ],
)
def test_pools(both, size, given, plain):
    best = both(lambda x: cnp.max_pool2d(x, size, **given), X)
    np.testing.assert_array_equal(best, windows(X, *plain, -np.inf).max((-1, -2)))
    mean = both(lambda x: cnp.avg_pool2d(x, size, **given), X)
    np.testing.assert_allclose(mean, windows(X, *plain, 0.0).mean((-1, -2)), atol=1e-14)
    inside = both(lambda x: cnp.avg_pool2d(x, size, include_padding=False, **given), X)
    np.testing.assert_allclose(inside, np.nanmean(windows(X, *plain, np.nan), (-1, -2)), atol=1e-14)


def test_elementwise(both):
    x = np.linspace(-6, 6, 31)
    s = scipy.special
    for ours, theirs in ((cnp.erf, s.erf), (cnp.erfc, s.erfc), (cnp.expit, s.expit)):
        np.testing.assert_allclose(both(ours, x), theirs(x), rtol=1e-14)
        assert both(ours, x.astype("f4")).dtype == np.float32
        assert both(ours, np.asarray([0, 1])).dtype == np.float64
    np.testing.assert_array_equal(both(cnp.relu, x), np.maximum(x, 0))
    exact = both(lambda x: cnp.gelu(x, approximate=False), x)
    np.testing.assert_allclose(exact, x * s.ndtr(x), rtol=1e-12)
    near = both(cnp.gelu, x.astype("f4"))
    assert near.dtype == np.float32
    np.testing.assert_allclose(near, exact, atol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_exponentials(both, axis):
    for x in (WILD, X[0, 0].astype("f4"), np.asarray([[1, 2], [3, 4]])):
        rtol = 1e-5 if x.dtype == np.float32 else 1e-13
        for keep in (False, True):
            found = both(lambda x: cnp.logsumexp(x, axis, keepdims=keep), x)
            np.testing.assert_allclose(found, scipy.special.logsumexp(x, axis, keepdims=keep), rtol)
        np.testing.assert_allclose(
            both(lambda x: cnp.softmax(x, axis), x), scipy.special.softmax(x, axis), rtol
        )
        found = both(lambda x: cnp.log_softmax(x, axis), x)
        np.testing.assert_allclose(found, scipy.special.log_softmax(x, axis), rtol)


def test_one_hot(both):
    index = np.asarray([[0, 2], [3, -1]])
    found = both(lambda i: cnp.one_hot(i, 3, dtype=np.float32), index)
    assert (found.dtype, found.shape) == (np.float32, (2, 2, 3))
    np.testing.assert_array_equal(found.sum(-1), [[1, 1], [0, 0]])
    np.testing.assert_array_equal(found.argmax(-1)[0], [0, 2])
    moved = both(lambda i: cnp.one_hot(i, 3, axis=0), index)
    np.testing.assert_array_equal(np.moveaxis(moved, 0, -1), found)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular(both, lower, trans, unit):
    a = random.normal(size=(2, 4, 4)) + 4 * np.eye(4)
    b = random.normal(size=(4, 3))

    def ours(a, b):
        return cnp.solve_triangular(a, b, lower=lower, trans=trans, unit_diagonal=unit)

    def theirs(a, b):
        return scipy.linalg.solve_triangular(a, b, lower=lower, trans=trans, unit_diagonal=unit)

    np.testing.assert_allclose(both(ours, a, b), [theirs(m, b) for m in a], rtol=1e-9)
    np.testing.assert_allclose(both(ours, a[0], b[:, 0]), theirs(a[0], b[:, 0]), rtol=1e-9)


@pytest.mark.parametrize("lower", [False, True])
def test_cho_solve(both, lower):
    root = random.normal(size=(3, 4, 4))
    a = root @ np.swapaxes(root, 1, 2) + np.eye(4)
    b = random.normal(size=4)
    factor = np.linalg.cholesky(a, upper=not lower)
    found = both(lambda factor, b: cnp.cho_solve(factor, b, lower=lower), factor, b)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(
        np.einsum("bij,bj->bi", a, found), np.broadcast_to(b, (3, 4)), rtol=1e-9
    )


def test_updates(both):
    found = both(lambda x, v: cnp.update(x, (0, slice(None, None, 2)), v), X[0, 0], 3.0)
    wanted = X[0, 0].copy()
    wanted[0, ::2] = 3
    np.testing.assert_array_equal(found, wanted)
    found = both(lambda x, v: cnp.scatter_add(x, [1, 1], v), X[0, 0], 3.0)
    np.testing.assert_allclose(found[1], X[0, 0, 1] + 6, rtol=1e-15)
    assert both(lambda x: cnp.asarray(x, np.float32), X).dtype == np.float32
    np.testing.assert_array_equal(both(cnp.stop_gradient, X), X)


def test_zero_dimensional_results_are_scalars():
    assert isinstance(cnp.logsumexp(np.ones(3)), np.float64)


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda: cnp.conv2d(X[0], np.ones((1, 3, 2, 2))), r"images are \[n, channels"),
        (lambda: cnp.conv2d(X, np.ones((3, 2, 2))), "kernels are"),
        (lambda: cnp.conv2d(X, np.ones((1, 3, 2, 2)), padding="FULL"), "not 'FULL'"),
        (lambda: cnp.conv2d(X, np.ones((1, 2, 2, 2))), "input channels"),
        (lambda: cnp.solve_triangular(np.ones((2, 3)), np.ones(3)), "must be square"),
        (lambda: cnp.solve_triangular(np.eye(3), np.ones(2)), "do not fit"),
    ],
)
def test_errors(f, error):
    with pytest.raises(TypeError, match=error):
        f()


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(cnp.__path__)])
def test_doctests(name):
    module = importlib.import_module(f"ckpt.numpy.{name}")
    failed, _ = doctest.testmod(module, extraglobs={"np": np})
    assert failed == 0


def test_every_function_has_a_doctest_and_is_public():
    for name in cnp.__all__:
        value = getattr(cnp, name)
        if callable(value):
            assert ">>>" in value.__doc__, name
    assert sorted(cnp.__all__) == cnp.__all__


def test_trace_errors_are_type_errors():
    assert issubclass(TraceError, TypeError)
