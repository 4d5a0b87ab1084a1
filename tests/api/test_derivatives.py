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


def predict(x, y, star):
    n = x.shape[0]
    k = np.exp(-0.5 * (x[:, None] - x[None, :]) ** 2) + 0.1 * np.eye(n)
    w = np.tanh(k @ y)
    return np.exp(-0.5 * (star[:, None] - x[None, :]) ** 2) @ w


def test_partial_evaluation_runs_the_known_part_once():
    x, y, star = np.linspace(0, 1, 40), np.linspace(1, 2, 40), np.linspace(0, 1, 3)
    staged = ckpt.partial_eval(predict, known=("x", "y"))(x, y, star)
    late = staged.bind(x, y)
    assert late(star).tobytes() == ckpt.compile(predict)(x, y, star).tobytes()
    assert late(star + 1).tobytes() == ckpt.compile(predict)(x, y, star + 1).tobytes()
    assert staged.residual_bytes == 2 * 320  # x and the weights; never the 40 x 40 matrix
    assert "cross" in staged.report
    assert all(e.op.name != "tanh" for e in staged.late.eqns)


def test_a_budget_trades_residuals_for_work_per_call():
    def f(a, u):
        return np.sum(np.exp(np.outer(a, a))) * u + np.sum(np.sin(a) * u)

    a, u = np.linspace(0, 1, 64), np.float64(2.0)
    free = ckpt.partial_eval(f, known=("a",))(a, u)
    tight = ckpt.partial_eval(f, known=("a",), budget=512 + 8)(a, u)
    assert tight.residual_bytes <= 520
    assert free.decision.seconds <= tight.decision.seconds
    assert tight.bind(a)(u).tobytes() == free.bind(a)(u).tobytes()
    with pytest.raises(ckpt.BudgetError, match="must cross"):
        ckpt.partial_eval(f, known=("a",), budget=4)(a, u)


def test_everything_known_and_nothing_known():
    x, y, star = np.linspace(0, 1, 5), np.linspace(1, 2, 5), np.linspace(0, 1, 3)
    everything = ckpt.partial_eval(predict, known=("x", "y", "star"))(x, y, star)
    assert everything.late.eqns == ()
    np.testing.assert_allclose(everything.bind(x, y, star)(), predict(x, y, star), rtol=1e-12)
    nothing = ckpt.partial_eval(predict, known=())(x, y, star)
    np.testing.assert_allclose(nothing.bind()(x, y, star), predict(x, y, star), rtol=1e-12)
    with pytest.raises(ckpt.ArgumentError, match="known names 'z'"):
        ckpt.partial_eval(predict, known=("z",))(x, y, star)


def test_a_budget_on_what_crosses_is_refused_with_the_least_that_can():
    def f(a, u):
        return np.sin(a) * u

    a, u = np.zeros(3), np.zeros(3)
    with pytest.raises(ckpt.BudgetError) as refused:
        ckpt.partial_eval(f, known="a", budget=23)(a, u)
    assert refused.value.min_bytes == refused.value.lower_bound_bytes == 24
    assert ckpt.partial_eval(f, known="a", budget=24)(a, u).residual_bytes == 24


def test_what_was_made_early_belongs_to_each_caller():
    staged = ckpt.partial_eval(lambda a, u: (np.exp(a), a * u), known="a")
    late = staged(np.zeros(3), np.zeros(3)).bind(np.zeros(3))
    late(np.ones(3))[0][:] = 7
    np.testing.assert_array_equal(late(np.ones(3))[0], np.ones(3))
    _, pullback = ckpt.vjp(lambda x, u: np.sum(x), np.ones(3), np.ones(2))
    pullback(1.0)[1][:] = 7
    np.testing.assert_array_equal(pullback(1.0)[1], np.zeros(2))


def test_the_late_stage_takes_what_was_traced():
    a = {"p": np.zeros(3), "q": np.ones(3)}
    staged = ckpt.partial_eval(lambda a, u: a["p"] * a["q"] * u, known="a")(a, np.zeros(3))
    with pytest.raises(ckpt.ArgumentError, match="traced as"):
        staged.bind({"p": np.zeros(3), "r": np.ones(3)})
    with pytest.raises(ckpt.ArgumentError, match="'u' is no known argument"):
        staged.bind(a, u=np.zeros(3))
    with pytest.raises(ckpt.ArgumentError, match="bytes that cross"):
        ckpt.partial_eval(np.add, known=(0,), budget="0.5x")


def test_gradients_through_the_late_stage():
    def g(a, u):
        return np.sum(np.exp(a)) * u * u

    late = ckpt.partial_eval(g, known=("a",))(np.zeros(3), np.float64(1.0)).bind(np.zeros(3))
    assert float(ckpt.grad(late)(np.float64(2.0))) == pytest.approx(12.0)
