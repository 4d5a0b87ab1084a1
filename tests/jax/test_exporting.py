"""A plan as a plain policy: it saves the same, or it is refused with a reason."""

import jax
import jax.numpy as jnp
import pytest
from jax.ad_checkpoint import checkpoint_name

import ckpt.jax
from ckpt.jax.exporting import ExportError


def weights(layers=8, width=16):
    keys = jax.random.split(jax.random.key(0), layers)
    return [0.3 * jax.random.normal(key, (width, width), "float32") for key in keys]


def loss(ws, x):
    for w in ws:
        x = jnp.tanh(x @ w)
    return (x * x).mean()


def named(ws, x):
    for i, w in enumerate(ws):
        x = checkpoint_name(jnp.tanh(x @ w), f"layer{i}")
    return (x * x).mean()


X = jax.random.normal(jax.random.key(1), (2048, 16), "float32")


def crossing(f, *args):
    """Types of what JAX saves, from its own mouth, arguments not counted."""
    from jax._src.ad_checkpoint import saved_residuals

    found = saved_residuals(lambda first: f(first, *args[1:]), args[0])
    given = ("from the argument", "from a constant", "from a literal")
    return sorted(a.str_short() for a, said in found if not said.startswith(given))


@pytest.mark.parametrize("budget", ["0.9x", "0.75x", "0.6x"])
def test_named_values_are_told_apart(budget):
    f = ckpt.jax.checkpoint(named, budget=budget)
    plan = ckpt.jax.plan(f, weights(), X)
    policy = ckpt.jax.as_policy(f, weights(), X)
    plain = jax.checkpoint(named, policy=policy)
    joint = plan.kernels.joint
    wanted = sorted(joint.avals[v].str_short() for v in plan.script.saved)
    assert crossing(plain, weights(), X) == wanted
    assert plan.decision.recomputations > 0
    ours, theirs = jax.grad(f)(weights(), X), jax.grad(plain)(weights(), X)
    for a, b in zip(ours, theirs, strict=True):
        assert jnp.allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_plan_that_saves_everything_is_a_policy():
    f = ckpt.jax.checkpoint(loss)
    policy = ckpt.jax.as_policy(f, weights(), X)
    plain = jax.checkpoint(loss, policy=policy)
    plan = ckpt.jax.plan(f, weights(), X)
    assert len(crossing(plain, weights(), X)) == len(plan.script.saved)


def test_layers_without_names_look_alike():
    f = ckpt.jax.checkpoint(loss, budget="0.75x")
    with pytest.raises(ExportError, match=r"cannot tell .* from .*checkpoint_name"):
        ckpt.jax.as_policy(f, weights(), X)


def test_turns_of_a_scan_are_refused():
    def scanned(ws, x):
        def turn(x, w):
            return jnp.tanh(x @ w), None

        return (jax.lax.scan(turn, x, ws)[0] ** 2).mean()

    f = ckpt.jax.checkpoint(scanned, budget="0.7x")
    with pytest.raises(ExportError, match="cannot count turns"):
        ckpt.jax.as_policy(f, jnp.stack(weights()), X)
