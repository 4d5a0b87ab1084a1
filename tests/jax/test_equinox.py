"""An Equinox model with dropout, trained within a budget."""

import jax
import jax.numpy as jnp
import pytest

import ckpt.jax

eqx = pytest.importorskip("equinox")


class Block(eqx.Module):
    norm: eqx.nn.LayerNorm
    up: eqx.nn.Linear
    down: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, width, key):
        first, second = jax.random.split(key)
        self.norm = eqx.nn.LayerNorm(width)
        self.up = eqx.nn.Linear(width, 4 * width, key=first)
        self.down = eqx.nn.Linear(4 * width, width, key=second)
        self.dropout = eqx.nn.Dropout(0.1)

    def __call__(self, x, key):
        return x + self.dropout(self.down(jax.nn.gelu(self.up(self.norm(x)))), key=key)


def test_gradients_of_a_filtered_model_are_the_same_within_a_budget():
    blocks = [Block(16, key) for key in jax.random.split(jax.random.key(0), 4)]
    x = jax.random.normal(jax.random.key(1), (256, 16))
    arrays, rest = eqx.partition(blocks, eqx.is_array)

    def loss(arrays, x, key):
        for block in eqx.combine(arrays, rest):
            key, mine = jax.random.split(key)
            x = jax.vmap(block)(x, jax.random.split(mine, len(x)))
        return jnp.square(x).mean()

    planned = ckpt.jax.checkpoint(loss, budget="0.6x", device="h100")
    key = jax.random.key(2)
    plan = ckpt.jax.plan(planned, arrays, x, key)
    assert plan.decision.recomputations > 0
    assert plan.peak_bytes <= plan.decision.budget_bytes
    ours = eqx.filter_jit(jax.grad(planned))(arrays, x, key)
    theirs = eqx.filter_jit(jax.grad(loss))(arrays, x, key)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert jnp.allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_model_is_called_through_its_own_filters():
    model = eqx.nn.MLP(8, 8, 32, 3, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (128, 8))

    def loss(model, x):
        return jnp.square(jax.vmap(model)(x)).mean()

    planned = ckpt.jax.checkpoint(loss, budget="0.8x")
    ours = eqx.filter_grad(planned)(model, x)
    theirs = eqx.filter_grad(loss)(model, x)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert jnp.allclose(a, b, rtol=1e-5, atol=1e-7)
