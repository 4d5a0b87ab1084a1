"""Rules made of several lets have the right derivatives too, at kinks and removable points."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import scipy.special

import ckpt.frontends
import ckpt.numpy as cnp
from ckpt.ad.forward import jvp
from ckpt.frontends.numpy import trace
from ckpt.ir.interpret import interpret

s = scipy.special


def slope(f, *point):
    """The derivatives of f at a point, one per argument, each along ones."""
    traced = trace(f, tuple(map(np.asarray, point)))
    program = jvp(traced.program, [True] * len(point) + [False] * len(traced.constants))
    values = [np.asarray(x, float) for x in point]
    found = []
    for i in range(len(point)):
        tangents = [np.full(x.shape, float(i == j)) for j, x in enumerate(values)]
        found.append(interpret(program, *values, *traced.constants, *tangents)[-1])
    return found


def differences(f, *point):
    values = [np.asarray(x, float) for x in point]
    found = []
    for i in range(len(point)):
        ends = []
        for side in (1, -1):
            moved = [x + side * 1e-6 * (i == j) for j, x in enumerate(values)]
            ends.append(np.asarray(f(*moved)))
        found.append((ends[0] - ends[1]) / 2e-6)
    return found


X = np.asarray([-1.7, -0.4, 0.3, 1.2, 2.6])
Y = np.asarray([0.7, 1.9, 0.3, 2.5, 0.6])

SMOOTH = {
    "expit": (s.expit, (X,)),
    "log_expit": (s.log_expit, (X,)),
    "logit": (s.logit, (Y / 3,)),
    "ndtr": (s.ndtr, (X,)),
    "xlogy": (s.xlogy, (X, Y)),
    "xlog1py": (s.xlog1py, (X, Y)),
    "logaddexp": (np.logaddexp, (X, Y)),
    "logaddexp2": (np.logaddexp2, (X, Y)),
    "hypot": (np.hypot, (X, Y)),
    "copysign": (np.copysign, (X, Y)),
    "fmod": (np.fmod, (X, Y + 0.1)),
    "fmax": (np.fmax, (X, Y)),
    "clip": (lambda x: np.clip(x, -1, 2), (X,)),
    "std": (lambda x: np.std(x * x), (X,)),
    "var": (lambda x: np.var(x * x, ddof=1), (X,)),
    "norm": (lambda x: np.linalg.norm(x, 3), (X,)),
    "sort": (lambda x: np.sort(x * x) * np.arange(5), (X,)),
    "median": (lambda x: np.median(x**3), (X,)),
    "sinc": (np.sinc, (X,)),
    "cumprod": (np.cumprod, (X,)),
    "trapezoid": (lambda x, y: np.trapezoid(y * x, x), (X, Y)),
    "logsumexp": (cnp.logsumexp, (X,)),
    "softmax": (lambda x: cnp.softmax(x * x), (X,)),
    "log_softmax": (lambda x: cnp.log_softmax(x * x), (X,)),
    "gelu": (cnp.gelu, (X,)),
    "exact gelu": (lambda x: cnp.gelu(x, approximate=False), (X,)),
    "relu": (cnp.relu, (X,)),
    "einsum": (lambda x, y: np.einsum("i,i,j->j", x, y, x), (X, Y)),
    "pad": (lambda x: np.pad(x * x, 3, "reflect"), (X,)),
    "update": (lambda x: cnp.update(x, slice(1, 3), x[3:] * x[:2]), (X,)),
    "scatter_add": (lambda x: cnp.scatter_add(x * x, [1, 1], x[:2]), (X,)),
    "cho_solve": (lambda x: cnp.cho_solve(np.linalg.cholesky(np.outer(x, x) + np.eye(5)), x), (X,)),
    "avg_pool": (lambda x: cnp.avg_pool2d((x * x)[None, None, None], (1, 2), padding="SAME"), (X,)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth(name):
    f, point = SMOOTH[name]
    for found, wanted in zip(slope(f, *point), differences(f, *point), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("f", "point", "wanted"),
    [
        (s.expit, (0.0,), [0.25]),
        (s.log_expit, (0.0,), [0.5]),
        (np.logaddexp, (1.0, 1.0), [0.5, 0.5]),
        (np.logaddexp, (0.0, -np.inf), [1.0, 0.0]),
        (np.hypot, (1.0, 1.0), [0.5**0.5] * 2),
        (np.hypot, (3.0, 0.0), [1.0, 0.0]),
        (np.fmod, (0.0, 2.0), [1.0, 0.0]),
        (s.xlogy, (0.0, 3.0), [np.log(3.0), 0.0]),
        (s.xlogy, (0.0, 0.0), [0.0, 0.0]),
        (cnp.relu, (0.0,), [0.0]),
        (lambda x: x**2, (0.0,), [0.0]),
        (lambda x: x**0, (0.0,), [0.0]),
        (cnp.stop_gradient, (2.0,), [0.0]),
        (lambda x: x * cnp.stop_gradient(x), (2.0,), [2.0]),
    ],
)
def test_at_kinks_and_removable_points(f, point, wanted):
    np.testing.assert_allclose(slope(f, *point), wanted, rtol=1e-12, atol=1e-15)


def test_far_out_nothing_is_lost():
    for x in (-800.0, 800.0):
        assert np.isfinite(slope(s.expit, x)).all()
        assert np.isfinite(slope(lambda x: cnp.log_softmax(np.stack([x, 0 * x])).sum(), x)).all()
    rows = np.asarray([0.0, -np.inf, 3.0])
    assert np.isfinite(slope(lambda x: cnp.softmax(x + rows), np.zeros(3))).all()


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(ckpt.frontends.__path__)])
def test_doctests(name):
    assert doctest.testmod(importlib.import_module(f"ckpt.frontends.{name}")).failed == 0
