"""An LSTM over a sequence in plain JAX, as shapes: one scan with a small carry and many turns."""

from typing import Any

import jax
import jax.numpy as jnp

WIDTH = 1024


def parameters(width: int = WIDTH, dtype: str = "float32") -> dict[str, jax.ShapeDtypeStruct]:
    """All parameters, as shapes."""
    shapes = {
        "x": (width, 4 * width),
        "h": (width, 4 * width),
        "b": (4 * width,),
        "out": (width, width),
    }
    return {k: jax.ShapeDtypeStruct(s, dtype) for k, s in shapes.items()}


def loss(params: dict[str, jax.Array], xs: jax.Array) -> jax.Array:
    """Predict the next vector: ``(parameters, f[t,b,d]) -> f[]``."""

    def turn(state: tuple[jax.Array, jax.Array], x: jax.Array) -> Any:
        h, c = state
        gates = x @ params["x"] + h @ params["h"] + params["b"]
        i, f, g, o = jnp.split(gates, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros_like(xs[0])
    _, hs = jax.lax.scan(turn, (start, start), xs[:-1])
    return jnp.square(hs @ params["out"] - xs[1:]).mean()


def example_inputs(batch: int = 32, length: int = 513) -> tuple[Any, ...]:
    """Shapes for `loss`."""
    return parameters(), jax.ShapeDtypeStruct((length, batch, WIDTH), "float32")
