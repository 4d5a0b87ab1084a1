"""jvp, linearize, vjp, custom rules and partial evaluation as a user meets them."""

import numpy as np
import pytest

import ckpt

X = np.array([0.3, -0.7, 1.2])


def f(x):
    return np.sin(x) * x, np.sum(np.exp(x))


def test_jvp_agrees_with_differences():
    v = np.array([1.0, -2.0, 0.5])
    (y, s), (dy, ds) = ckpt.jvp(f, (X,), (v,))
    step = 1e-6
    up, down = f(X + step * v), f(X - step * v)
    np.testing.assert_allclose(y, f(X)[0], rtol=1e-14)
    np.testing.assert_allclose(dy, (up[0] - down[0]) / (2 * step), rtol=1e-8)
    np.testing.assert_allclose(ds, (up[1] - down[1]) / (2 * step), rtol=1e-8)
    assert float(s) == pytest.approx(float(np.sum(np.exp(X))))


def test_linearize_and_vjp_are_adjoint():
    v = np.array([1.0, -2.0, 0.5])
    ct = (np.array([0.2, 0.1, -0.4]), np.float64(2.0))
    _, lin = ckpt.linearize(f, X)
    _, pullback = ckpt.vjp(f, X)
    dy, ds = lin(v)
    (back,) = pullback(ct)
    assert np.vdot(dy, ct[0]) + ds * ct[1] == pytest.approx(np.vdot(v, back), rel=1e-12)


def test_the_halves_of_a_budget_have_the_same_bits():
    def deep(x):
        for _ in range(10):
            x = np.tanh(x) * 1.1 + np.sin(x)
        return x

    x = np.linspace(-1, 1, 500)
    ct = np.cos(x)
    whole = ckpt.vjp(deep, x)[1](ct)[0]
    lean = ckpt.vjp(deep, x, budget="0.5x")[1](ct)[0]
    assert lean.tobytes() == whole.tobytes()


def test_integer_arguments_have_no_tangent():
    def pick(x, i):
        return x[i] * 2.0

    y, dy = ckpt.jvp(pick, (X, np.int64(1)), (np.ones(3), np.int64(0)))
    assert (float(y), float(dy)) == (pytest.approx(-1.4), 2.0)


def test_structures_must_agree():
    with pytest.raises(ckpt.ArgumentError, match="the tangents are"):
        ckpt.jvp(lambda p: p["a"], ({"a": X},), ({"b": X},))
    with pytest.raises(ckpt.ArgumentError, match="the tangent or cotangent of x"):
        ckpt.jvp(lambda x: x * 1.0, (X,), (np.ones(4),))
    with pytest.raises(ckpt.ArgumentError, match="the cotangent is"):
        ckpt.vjp(f, X)[1](np.ones(3))


def test_a_custom_jvp_is_used_in_both_modes_and_in_second_derivatives():
    @ckpt.custom_jvp
    def safe(x):
        return np.log1p(np.exp(x))

    @safe.defjvp
    def rule(primals, tangents):
        (x,), (dx,) = primals, tangents
        return safe(x), dx / (1.0 + np.exp(-x))

    big = np.float64(800.0)
    assert float(ckpt.grad(safe)(big)) == 1.0
    assert float(ckpt.jvp(safe, (big,), (np.float64(2.0),))[1]) == 2.0
    x = np.float64(0.3)
    s = 1 / (1 + np.exp(-0.3))
    assert float(ckpt.grad(ckpt.grad(safe))(x)) == pytest.approx(s * (1 - s))
    assert float(safe(x)) == pytest.approx(np.log1p(np.exp(0.3)))


def test_a_custom_jvp_must_be_linear():
    @ckpt.custom_jvp
    def g(x):
        return x * x

    @g.defjvp
    def rule(primals, tangents):
        return primals[0] * primals[0], np.sin(tangents[0])

    with pytest.raises(ckpt.LinearityError, match="not linear"):
        ckpt.grad(g)(np.float64(1.0))


def test_a_rule_is_needed():
    @ckpt.custom_jvp
    def g(x):
        return x * x

    with pytest.raises(ckpt.TraceError, match="g has no derivative rule"):
        ckpt.grad(g)(np.float64(1.0))


def test_a_custom_vjp_replaces_the_pullback_and_refuses_forward_mode():
    @ckpt.custom_vjp
    def clipped(x):
        return x * 1.0

    clipped.defvjp(lambda x: (x * 1.0, x), lambda x, ct: (np.clip(ct, -1.0, 1.0) + 0.0 * x,))
    assert float(ckpt.grad(lambda x: 5.0 * clipped(x))(np.float64(2.0))) == 1.0
    with pytest.raises(ckpt.CkptError, match="forward mode"):
        ckpt.jvp(clipped, (np.float64(2.0),), (np.float64(1.0),))
