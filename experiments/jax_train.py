"""Train a small Equinox GPT on characters, on the CPU, within a byte budget.

Run with: pip install -e '.[jax-example]' && python -m experiments.jax_train --budget 0.5x

Without `ckpt.jax.checkpoint` around the loss it is any Equinox training loop: nothing else changes.
"""

import argparse
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import ckpt.jax


class Block(eqx.Module):
    """One transformer block, norms first."""

    norm1: eqx.nn.LayerNorm
    norm2: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP

    def __init__(self, width: int, heads: int, key: jax.Array) -> None:
        one, two = jax.random.split(key)
        self.norm1, self.norm2 = eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)
        self.attention = eqx.nn.MultiheadAttention(heads, width, key=one)
        self.mlp = eqx.nn.MLP(width, width, 4 * width, 1, jax.nn.gelu, key=two)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map f[t,d] to f[t,d]."""
        h = jax.vmap(self.norm1)(x)
        causal = jnp.tril(jnp.ones((x.shape[0], x.shape[0]), dtype=bool))
        x = x + self.attention(h, h, h, mask=causal)
        return x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))


class GPT(eqx.Module):
    """Characters to logits of the next."""

    tokens: eqx.nn.Embedding
    places: jax.Array
    blocks: list[Block]
    head: eqx.nn.Linear

    def __init__(self, width: int, heads: int, layers: int, length: int, key: jax.Array) -> None:
        keys = jax.random.split(key, layers + 3)
        self.tokens = eqx.nn.Embedding(128, width, key=keys[0])
        self.places = 0.02 * jax.random.normal(keys[1], (length, width))
        self.head = eqx.nn.Linear(width, 128, key=keys[2])
        self.blocks = [Block(width, heads, k) for k in keys[3:]]

    def __call__(self, text: jax.Array) -> jax.Array:
        """Map i32[t] to f[t,128]."""
        x = jax.vmap(self.tokens)(text) + self.places
        for block in self.blocks:
            x = block(x)
        return jax.vmap(self.head)(x)


def loss(model: GPT, batch: jax.Array) -> jax.Array:
    """Cross entropy of the next character: i32[b,t+1] -> f[]."""
    logits = jax.vmap(model)(batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


def main() -> None:
    """Train, and say what the budget did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--budget", default="0.5x")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    given = parser.parse_args()
    text = Path(__file__).read_bytes()  # what it learns to write is itself
    data = jnp.array([byte for byte in text if byte < 128])
    model = GPT(64, 4, 4, given.length, jax.random.key(0))
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.adam(3e-3)
    state = optimizer.init(params)

    def of_params(params: Any, batch: jax.Array) -> jax.Array:
        return loss(eqx.combine(params, rest), batch)

    planned = ckpt.jax.checkpoint(of_params, budget=given.budget)

    @jax.jit
    def step(params: Any, state: Any, batch: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(planned)(params, batch)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    for number in range(given.steps):
        at = jax.random.randint(jax.random.key(number), (given.batch,), 0, len(data) - given.length)
        batch = data[at[:, None] + jnp.arange(given.length + 1)]
        if number == 0:
            print(ckpt.jax.explain(planned, params, batch, compiled=False))
        params, state, value = step(params, state, batch)
        if number % 10 == 0 or number == given.steps - 1:
            print(f"step {number:4d}  loss {value:.3f}")


if __name__ == "__main__":
    main()
