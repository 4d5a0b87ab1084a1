"""`ckpt.while_loop`: as the loop of known length with the same number of steps."""

import numpy as np
import pytest

import ckpt
from tests.loops.slots import gradient, same_bits

W = np.array([[0.5, -0.3], [0.2, 0.8]])
X = np.array([1.0, -0.5])


def step(w, x):
    return np.tanh(x @ w) + 0.5 * x


def bounded(n, **options):
    def loss(w, x):
        x, _ = ckpt.while_loop(
            lambda c: c[1] < n, lambda c: (step(w, c[0]), c[1] + 1), (x, 0), **options
        )
        return np.sum(x * x * x)

    return loss


def counted(n):
    def loss(w, x):
        (x, _), _ = ckpt.scan(lambda c, _: ((step(w, c[0]), c[1] + 1), None), (x, 0), length=n)
        return np.sum(x * x * x)

    return loss


@pytest.mark.parametrize("slots", [1, 2, 3, 6, 11])
def test_the_gradient_has_the_bits_of_the_scan(slots):
    for n in (1, 2, slots, slots + 1, (slots + 1) * (slots + 2) // 2 + 1, 100):
        found, _ = gradient(bounded(n), (W, X), slots)
        want, _ = gradient(counted(n), (W, X), n)
        assert same_bits(found, want)


def test_no_step_at_all():
    (_, gw, gx), _ = gradient(bounded(0), (W, X), 3)
    assert not gw.any()
    np.testing.assert_array_equal(gx, 3 * X * X)


def test_second_derivatives():
    d = np.cos(W), np.sin(X)

    def along(f):
        def product(*args):
            gs = ckpt.grad(f, argnums=(0, 1))(*args)
            return sum(np.sum(g * v) for g, v in zip(gs, d, strict=True))

        return product

    f, u = bounded(7, max_steps=9), counted(7)
    for a, b in zip(
        ckpt.grad(along(f), argnums=(0, 1))(W, X),
        ckpt.grad(along(u), argnums=(0, 1))(W, X),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    for second in (along, lambda f: lambda *a: ckpt.jvp(f, a, d)[1]):
        np.testing.assert_allclose(
            ckpt.jvp(second(f), (W, X), d)[1], ckpt.jvp(second(u), (W, X), d)[1], rtol=1e-11
        )
    with pytest.raises(ckpt.UnsupportedOpError, match="max_steps="):
        ckpt.grad(along(bounded(7)))(W, X)


def test_a_loop_that_does_not_end_is_an_error():
    f = ckpt.compile(lambda x: ckpt.while_loop(lambda x: x > 0, lambda x: x + 1, x, max_steps=10))
    assert f(np.float64(-1.0)) == -1.0
    with pytest.raises(ckpt.LoopError, match="Raise max_steps"):
        f(np.float64(1.0))
    assert f(np.float64(-2.0)) == -2.0  # the next call is none the worse


def test_newton_inside_a_scan():
    """Square roots by iterations whose number depends on the values."""

    def root(a):
        def unfinished(x):
            return abs(x * x - a) > 1e-14 * a

        return ckpt.while_loop(unfinished, lambda x: 0.5 * (x + a / x), a, max_steps=60)

    def loss(xs):
        total, _ = ckpt.scan(lambda c, a: (c + root(a), None), 0.0, xs)
        return total

    xs = np.array([2.0, 9.0, 1e4])
    value, slope = ckpt.value_and_grad(loss)(xs)
    np.testing.assert_allclose(value, np.sum(np.sqrt(xs)))
    np.testing.assert_allclose(slope, 0.5 / np.sqrt(xs), rtol=1e-6)
