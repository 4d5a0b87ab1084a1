"""ResNet-50 in plain JAX, as shapes: bottleneck blocks with batch norm in training mode."""

from typing import Any

import jax
import jax.numpy as jnp

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Width and number of blocks of each stage."""


def conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolution with padding: f[b,h,w,c], f[k,k,c,d] -> f[b,h/s,w/s,d]."""
    numbers = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=numbers)


def normed(x: jax.Array, p: dict[str, Any]) -> jax.Array:
    """Batch norm by the statistics of this batch."""
    mean = x.mean((0, 1, 2))
    centred = x - mean
    return centred * jax.lax.rsqrt((centred * centred).mean((0, 1, 2)) + 1e-5) * p["g"] + p["b"]


def bottleneck(x: jax.Array, p: dict[str, Any], stride: int) -> jax.Array:
    """1x1, 3x3, 1x1 with a shortcut."""
    y = jax.nn.relu(normed(conv(x, p["k1"]), p["n1"]))
    y = jax.nn.relu(normed(conv(y, p["k2"], stride), p["n2"]))
    y = normed(conv(y, p["k3"]), p["n3"])
    short = normed(conv(x, p["k0"], stride), p["n0"]) if "k0" in p else x
    return jax.nn.relu(y + short)


def parameters(
    dtype: str = "float32", stages: tuple[tuple[int, int], ...] = STAGES
) -> dict[str, Any]:
    """All parameters, as shapes."""

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    def norm(n: int) -> dict[str, Any]:
        return {"g": array(n), "b": array(n)}

    blocks: list[dict[str, Any]] = []
    first = width = stages[0][0]
    for n, count in stages:
        for i in range(count):
            p = {
                "k1": array(1, 1, width, n), "n1": norm(n), "k2": array(3, 3, n, n), "n2": norm(n),
                "k3": array(1, 1, n, 4 * n), "n3": norm(4 * n),
            }  # fmt: skip
            if i == 0:
                p |= {"k0": array(1, 1, width, 4 * n), "n0": norm(4 * n)}
            width = 4 * n
            blocks.append(p)
    stem = {"k": array(7, 7, 3, first), "n": norm(first)}
    return {"stem": stem, "blocks": blocks, "head": array(width, 1000)}


def loss(params: dict[str, Any], images: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross entropy: ``(parameters, f[b,h,w,3], i32[b]) -> f[]``."""
    x = jax.nn.relu(normed(conv(images, params["stem"]["k"], 2), params["stem"]["n"]))
    window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, "SAME")
    for number, block in enumerate(params["blocks"]):
        begins_a_stage = number > 0 and "k0" in block
        x = bottleneck(x, block, 2 if begins_a_stage else 1)
    logp = jax.nn.log_softmax(x.mean((1, 2)) @ params["head"])
    return -jnp.take_along_axis(logp, labels[:, None], -1).mean()


def example_inputs(batch: int = 64, size: int = 224) -> tuple[Any, ...]:
    """Shapes for `loss`."""
    images = jax.ShapeDtypeStruct((batch, size, size, 3), "float32")
    return parameters(), images, jax.ShapeDtypeStruct((batch,), "int32")
