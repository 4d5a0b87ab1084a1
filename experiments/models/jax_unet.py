"""A U-Net in plain JAX, as shapes: the long skips are what makes its memory hard."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.models.jax_resnet import conv

WIDTHS = (64, 128, 256, 512)


def twice(x: jax.Array, p: dict[str, Any]) -> jax.Array:
    """Two convolutions."""
    return jax.nn.silu(conv(jax.nn.silu(conv(x, p["k1"])), p["k2"]))


def parameters(dtype: str = "float32", widths: tuple[int, ...] = WIDTHS) -> dict[str, Any]:
    """All parameters, as shapes."""

    def pair(into: int, out: int) -> dict[str, Any]:
        shapes = ((3, 3, into, out), (3, 3, out, out))
        return {
            k: jax.ShapeDtypeStruct(s, dtype) for k, s in zip(("k1", "k2"), shapes, strict=True)
        }

    down = [pair(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True)]
    middle = pair(widths[-1], 2 * widths[-1])
    up = [pair(3 * n, n) for n in reversed(widths)]
    out = jax.ShapeDtypeStruct((1, 1, widths[0], 3), dtype)
    return {"down": down, "middle": middle, "up": up, "out": out}


def loss(params: dict[str, Any], images: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared error: ``(parameters, f[b,h,w,3], f[b,h,w,3]) -> f[]``."""
    x, skips = images, []
    for p in params["down"]:
        x = twice(x, p)
        skips.append(x)
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))
    x = twice(x, params["middle"])
    for p in params["up"]:
        x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
        x = twice(jnp.concatenate([x, skips.pop()], -1), p)
    return jnp.square(conv(x, params["out"]) - targets).mean()


def example_inputs(batch: int = 8, size: int = 256) -> tuple[Any, ...]:
    """Shapes for `loss`."""
    images = jax.ShapeDtypeStruct((batch, size, size, 3), "float32")
    return parameters(), images, images
