"""value_and_grad, grad and compile as a user meets them."""

import enum
import threading

import numpy as np
import pytest

import ckpt


def loss(params, x, *, scale=1.0):
    h = np.tanh(x @ params["w"] + params["b"])
    return scale * np.sum(h * h), {"hidden": h}


PARAMS = {"w": np.linspace(-1, 1, 12).reshape(3, 4), "b": np.zeros(4)}
X = np.linspace(0, 1, 15).reshape(5, 3)


def value(params, x):
    return loss(params, x)[0]


def test_gradients_have_the_structure_of_the_argument():
    found, grads = ckpt.value_and_grad(value)(PARAMS, X)
    assert grads.keys() == PARAMS.keys()
    assert grads["w"].shape == (3, 4)
    assert float(found) == pytest.approx(float(value(PARAMS, X)))


def test_gradients_agree_with_jax():
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    with jax.enable_x64(True):
        wanted = jax.grad(lambda p: jnp.sum(jnp.tanh(X @ p["w"] + p["b"]) ** 2))(PARAMS)
    found = ckpt.grad(value)(PARAMS, X)
    for name in PARAMS:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-12)


def test_several_argnums_give_a_tuple():
    gp, gx = ckpt.grad(value, argnums=(0, 1))(PARAMS, X)
    assert gp["b"].shape == (4,)
    assert gx.shape == X.shape


def test_aux_comes_along():
    (found, aux), grads = ckpt.value_and_grad(loss, has_aux=True)(PARAMS, X)
    assert aux["hidden"].shape == (5, 4)
    again, same = ckpt.grad(loss, has_aux=True)(PARAMS, X)
    np.testing.assert_array_equal(again["w"], grads["w"])
    np.testing.assert_array_equal(same["hidden"], aux["hidden"])
    assert np.ndim(found) == 0


def test_aux_must_be_returned():
    with pytest.raises(ckpt.ArgumentError, match=r"must return \(value, aux\)"):
        ckpt.grad(value, has_aux=True)(PARAMS, X)


def test_numbers_are_arguments_too_and_flags_are_static():
    def f(x, power, flip):
        y = x**power if flip else x
        return np.sum(y)

    assert ckpt.grad(f)(np.array([2.0]), 3, flip=True) == pytest.approx(12.0)
    assert ckpt.grad(f)(np.array([2.0]), 3, flip=False) == pytest.approx(1.0)


def test_only_scalars_have_gradients():
    with pytest.raises(ckpt.TraceError, match="one float scalar"):
        ckpt.grad(lambda x: x * 2.0)(np.ones(3))


def test_only_floats_have_gradients():
    with pytest.raises(ckpt.ArgumentError, match=r"params\['n'\] is i64\[\]"):
        ckpt.grad(lambda params: params["x"] * 1.0)({"x": np.float64(1), "n": np.int64(2)})


def test_argnums_must_exist():
    with pytest.raises(ckpt.ArgumentError, match="argnums names positional argument 2"):
        ckpt.grad(value, argnums=2)(PARAMS, X)


def test_second_derivatives_by_composition():
    cube = ckpt.grad(ckpt.grad(lambda x: x**3))
    assert float(cube(np.float64(2.0))) == pytest.approx(12.0)

    def f(x):
        return np.sum(np.sin(x) * np.roll(x, 1))

    def hessian_times(x, v):
        return ckpt.grad(lambda y: np.vdot(ckpt.grad(f)(y), v))(x)

    x, u, v = np.array([0.1, 0.7, -0.4]), np.array([1.0, 0, 2]), np.array([0.5, -1, 3])
    assert np.vdot(u, hessian_times(x, v)) == pytest.approx(np.vdot(v, hessian_times(x, u)))
    forward = ckpt.jvp(ckpt.grad(f), (x,), (v,))[1]
    np.testing.assert_allclose(forward, hessian_times(x, v), rtol=1e-12)


def test_a_training_step_is_one_program_under_one_budget():
    def train(params, moments, x):
        found, grads = ckpt.value_and_grad(value)(params, x)
        moments = {k: 0.9 * moments[k] + grads[k] for k in params}
        return found, {k: params[k] - 0.1 * moments[k] for k in params}, moments

    zeros = {k: np.zeros_like(v) for k, v in PARAMS.items()}
    step = ckpt.compile(train, budget="1MiB")
    first, params, moments = step(PARAMS, zeros, X)
    grads = ckpt.grad(value)(PARAMS, X)
    for k, before in PARAMS.items():
        np.testing.assert_allclose(params[k], before - 0.1 * grads[k], rtol=1e-12)
    assert step(params, moments, X)[0] < first
    assert step.plan.budget_bytes == 2**20


def test_gradient_accumulation_inside_the_program():
    def accumulated(params, parts):
        total = None
        for part in parts:
            g = ckpt.grad(value)(params, part)
            total = g if total is None else {k: total[k] + g[k] for k in g}
        return total

    parts = [X[:2], X[2:4], X[4:]]
    found = ckpt.compile(accumulated)(PARAMS, parts)
    whole = ckpt.grad(value)(PARAMS, X)
    for k in PARAMS:
        np.testing.assert_allclose(found[k], whole[k], rtol=1e-12)


def test_results_are_fresh_or_the_callers():
    step = ckpt.grad(lambda x: np.sum(x * x))
    a = step(np.ones(3))
    b = step(np.full(3, 2.0))
    np.testing.assert_array_equal(a, 2 * np.ones(3))
    np.testing.assert_array_equal(b, 4 * np.ones(3))
    out = ckpt.value_and_grad(lambda x: np.sum(x * x))
    value_buffer, grad_buffer = np.empty(()), np.empty(3)
    out(np.ones(3), out=(value_buffer, grad_buffer))
    np.testing.assert_array_equal(grad_buffer, 2 * np.ones(3))


def test_out_is_like_the_result_of_whatever_entry_point():
    gradient = np.empty(3)
    returned = ckpt.grad(lambda x: np.sum(x * x))(np.ones(3), out=gradient)
    assert returned is gradient
    np.testing.assert_array_equal(gradient, 2 * np.ones(3))
    # gradients in the order of argnums, not in that of the arguments
    step = ckpt.value_and_grad(lambda a, b: np.sum(a * b * b), argnums=(1, 0))
    of_b, of_a = np.empty(3), np.empty(3)
    step(np.full(3, 2.0), np.full(3, 3.0), out=(np.empty(()), (of_b, of_a)))
    np.testing.assert_array_equal(of_b, np.full(3, 12.0))
    np.testing.assert_array_equal(of_a, np.full(3, 9.0))


def test_out_of_another_structure_is_refused():
    step = ckpt.value_and_grad(lambda p: np.sum(p["a"] * p["b"]))
    p = {"a": np.ones(3), "b": np.ones(3)}
    with pytest.raises(ckpt.ArgumentError, match="but the result is"):
        step(p, out=(np.empty(()), np.empty(3), np.empty(3)))
    with pytest.raises(ckpt.ArgumentError, match="outermost"):
        ckpt.compile(lambda x: ckpt.grad(np.sum)(x, out=np.empty(3)))(np.ones(3))


def test_static_values_that_are_equal_and_differ_in_type():
    class Mode(enum.IntEnum):
        ONE = 1

    step = ckpt.compile(lambda x, flag: x * (2.0 if flag is True else 3.0))
    assert float(step(np.float64(1.0), True)) == 2.0
    assert float(step(np.float64(1.0), Mode.ONE)) == 3.0


def test_inputs_of_any_layout():
    f = ckpt.grad(lambda x: np.sum(np.sin(x)))
    x = np.arange(12.0).reshape(3, 4)
    x.flags.writeable = False
    np.testing.assert_array_equal(f(x.T), np.ascontiguousarray(f(x).T))
    assert f(np.zeros((0, 4))).shape == (0, 4)
    assert f(np.float64(0.0)) == 1.0


def test_nan_and_infinity_flow_through_and_change_no_plan():
    f = ckpt.value_and_grad(lambda x: np.sum(x * x))
    clean = f(np.ones(3))
    plan = f.plan
    found, grad = f(np.array([np.nan, np.inf, 1.0]))
    assert np.isnan(found)
    np.testing.assert_array_equal(grad, [np.nan, np.inf, 2.0])
    assert f.plan is plan
    assert clean[0] == 3.0


def test_closed_over_arrays_are_inputs():
    c = np.arange(3.0)
    step = ckpt.grad(lambda x: np.sum(x * x * c))
    np.testing.assert_array_equal(step(np.ones(3)), 2 * c)
    assert step.plan.input_bytes == 2 * 24


def test_threads_take_turns():
    step = ckpt.value_and_grad(value)
    wanted = step(PARAMS, X)[1]["w"]
    found = []

    def run():
        for _ in range(20):
            found.append(step(PARAMS, X)[1]["w"])

    threads = [threading.Thread(target=run) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 60
    assert all(f.tobytes() == wanted.tobytes() for f in found)


@pytest.mark.parametrize(("mark", "least", "most"), [(ckpt.save, 1, 1), (ckpt.recompute, 2, 99)])
def test_pins_are_kept(mark, least, most):
    def deep(w, x, mark):
        for i in range(8):
            x = np.tanh(x)
            x = (mark(x, f"layer{i}") if i == 3 else x) * w  # the gradient of w reads x
        return np.sum(x)

    w, x = np.linspace(1, 2, 1000), np.linspace(-1, 1, 1000)
    step = ckpt.value_and_grad(lambda w, x: deep(w, x, mark), budget="0.8x")
    free = ckpt.value_and_grad(lambda w, x: deep(w, x, lambda v, _: v))
    assert step(w, x)[1].tobytes() == free(w, x)[1].tobytes()
    joint = step.joint_for(w, x)
    (pinned,) = (e.ins[0] for e in joint.program.eqns if e.op.name == "mark")
    (let,) = (i for i, e in enumerate(joint.program.eqns) if pinned in e.outs)
    runs = [run.let for run in step.plan.steps].count(let)
    assert least <= runs <= most


def test_fusion_changes_no_bit_and_can_be_turned_off():
    def smooth(x):
        return np.sum(np.tanh(x * 2.0 + 1.0) ** 2)

    x = np.linspace(-1, 1, 1000)
    step, plain = ckpt.value_and_grad(smooth), ckpt.value_and_grad(smooth, fusion=False)
    assert [g.tobytes() for g in step(x)] == [g.tobytes() for g in plain(x)]
    assert len(step.plan.steps) < len(plain.plan.steps)
    assert step.plan.peak_bytes <= plain.plan.peak_bytes
    assert any(let.op == "tanh+2" for let in step.plan.lets)
    assert ckpt.grad(smooth, fusion=False)(x).tobytes() == step(x)[1].tobytes()
    assert ckpt.compile(smooth, fusion=False)(x) == step(x)[0]


def test_a_plan_is_needed_before_it_can_be_shown():
    with pytest.raises(ckpt.ArgumentError, match="has no plan yet"):
        _ = ckpt.grad(value).plan


def test_specs_are_planned_and_not_run():
    step = ckpt.value_and_grad(lambda x: np.sum(x * x))
    big = ckpt.Spec((1 << 20, 1 << 12), np.float32)
    assert step.plan_for(big).peak_bytes > 2**33
    with pytest.raises(ckpt.ArgumentError, match="x is a Spec"):
        step(big)


@pytest.mark.parametrize("text", ["10 XB", "lots", "-3MB", "1.5.2GiB"])
def test_wrong_units_are_refused(text):
    with pytest.raises(ValueError, match="budget|bytes|unit"):
        ckpt.value_and_grad(value, budget=text)


@pytest.mark.parametrize("text", ["64MB", "1.5GiB", 10**6, "1.0x"])
def test_units_are_understood(text):
    def deep(x):
        for _ in range(6):
            x = np.tanh(x)
        return np.sum(x)

    step = ckpt.value_and_grad(deep, budget=text)
    assert step.plan_for(ckpt.Spec((4096,))).peak_bytes > 0


def test_arrays_of_another_byte_order_are_refused_in_every_call():
    step = ckpt.value_and_grad(lambda x: np.sum(x * x))
    x = np.arange(3.0)
    for _ in range(2):
        with pytest.raises(ckpt.TraceError, match="dtype >f8 is not supported"):
            step(x.astype(">f8"))
        np.testing.assert_array_equal(step(x)[1], 2 * x)
        np.testing.assert_array_equal(step(x[::-1])[1], 2 * x[::-1])


def test_calls_differ_by_structure_and_static_arguments_even_when_arrays_are_alike():
    step = ckpt.value_and_grad(lambda p, *rest, double=False: np.sum(p["a"]) * (1 + double))
    x = np.ones(2)
    assert step({"a": x})[1]["a"].tolist() == [1, 1]
    assert step({"a": x}, double=True)[1]["a"].tolist() == [2, 2]
    assert step({"a": x, "b": x})[1]["b"].tolist() == [0, 0]
    assert step({"a": x})[1].keys() == {"a"}
