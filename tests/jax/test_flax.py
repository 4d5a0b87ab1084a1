"""A Flax training step with an Optax optimizer, within a budget."""

import jax
import jax.numpy as jnp
import pytest

import ckpt.jax

nn = pytest.importorskip("flax.linen")
optax = pytest.importorskip("optax")


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        for _ in range(4):
            h = nn.LayerNorm()(x)
            h = nn.gelu(nn.Dense(4 * x.shape[-1])(h))
            x = x + nn.Dropout(0.1, deterministic=not train)(nn.Dense(x.shape[-1])(h))
        return x


def test_a_training_step_is_the_same_within_a_budget():
    x = jax.random.normal(jax.random.key(1), (256, 16))
    net = Net()
    params = net.init(jax.random.key(0), x, train=False)
    optimizer = optax.adamw(1e-2)

    def loss(params, x, key):
        return jnp.square(net.apply(params, x, train=True, rngs={"dropout": key}) - x).mean()

    def step(f):
        @jax.jit
        def run(params, state, key):
            value, gradient = jax.value_and_grad(f)(params, x, key)
            updates, state = optimizer.update(gradient, state, params)
            return optax.apply_updates(params, updates), state, value

        return run

    planned = ckpt.jax.checkpoint(loss, budget="0.6x", device="h100")
    plan = ckpt.jax.plan(planned, params, x, jax.random.key(2))
    assert plan.decision.recomputations > 0
    assert plan.peak_bytes <= plan.decision.budget_bytes
    one = other = params, optimizer.init(params)
    values = []
    for number in range(3):
        key = jax.random.key(number)
        *one, value = step(loss)(*one, key)
        *other, same = step(planned)(*other, key)
        assert abs(value - same) <= 1e-5 * abs(value)
        values.append(value)
    assert values[-1] < values[0]
