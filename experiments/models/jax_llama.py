"""Llama in plain JAX: RMS norm, rotary positions, grouped queries, gated MLP; shapes only."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Llama; by default those of the 7B model.

    Attributes:
        layers: transformer blocks.
        width: of a token's vector.
        heads: of queries.
        groups: of keys and values.
        hidden: of the gated MLP.
        vocabulary: number of tokens.
        length: tokens of a sequence.
        batch: sequences of a step.
        dtype: of parameters and activations.
    """

    layers: int = 32
    width: int = 4096
    heads: int = 32
    groups: int = 32
    hidden: int = 11008
    vocabulary: int = 32000
    length: int = 2048
    batch: int = 1
    dtype: str = "bfloat16"


LLAMA_7B = Shape()


def norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Root mean square norm over the last axis, in f32."""
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt((wide * wide).mean(-1, keepdims=True) + 1e-6)).astype(
        x.dtype
    ) * scale


def rotated(x: jax.Array) -> jax.Array:
    """Rotary positions: f[b,t,h,c] -> f[b,t,h,c]."""
    half = x.shape[-1] // 2
    angle = jnp.arange(x.shape[1])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
    cos, sin = (f(angle)[:, None, :].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def block(p: dict[str, Any], x: jax.Array, shape: Shape) -> jax.Array:
    """One transformer block: f[b,t,d] -> f[b,t,d]."""
    b, t, d = x.shape
    c = d // shape.heads
    h = norm(x, p["norm1"])
    q = rotated((h @ p["q"]).reshape(b, t, shape.heads, c))
    k = rotated((h @ p["k"]).reshape(b, t, shape.groups, c))
    v = (h @ p["v"]).reshape(b, t, shape.groups, c)
    k, v = (jnp.repeat(a, shape.heads // shape.groups, axis=2) for a in (k, v))
    scores = jnp.einsum("bqhc,bkhc->bhqk", q, k) / c**0.5
    causal = jnp.tril(jnp.ones((t, t), dtype=bool))
    scores = jnp.where(causal, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores.astype(jnp.float32)).astype(x.dtype)
    x = x + jnp.einsum("bhqk,bkhc->bqhc", weights, v).reshape(b, t, d) @ p["o"]
    h = norm(x, p["norm2"])
    return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]


def parameters(shape: Shape, *, scan: bool = True) -> dict[str, Any]:
    """All parameters, as shapes; blocks are stacked for a scan."""
    d, kv = shape.width, shape.width // shape.heads * shape.groups
    sizes = {
        "norm1": (d,), "q": (d, d), "k": (d, kv), "v": (d, kv), "o": (d, d),
        "norm2": (d,), "gate": (d, shape.hidden), "up": (d, shape.hidden), "down": (shape.hidden, d),
    }  # fmt: skip

    def specs(front: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
        return {k: jax.ShapeDtypeStruct((*front, *s), shape.dtype) for k, s in sizes.items()}

    blocks: Any = specs((shape.layers,)) if scan else [specs(()) for _ in range(shape.layers)]
    return {
        "embedding": jax.ShapeDtypeStruct((shape.vocabulary, d), shape.dtype),
        "blocks": blocks,
        "norm": jax.ShapeDtypeStruct((d,), shape.dtype),
        "head": jax.ShapeDtypeStruct((d, shape.vocabulary), shape.dtype),
    }


def loss_of(shape: Shape, *, scan: bool = True) -> Callable[..., jax.Array]:
    """The training loss: ``(parameters, i32[b,t+1]) -> f32[]``."""

    def loss(params: dict[str, Any], batch: jax.Array) -> jax.Array:
        x = params["embedding"][batch[:, :-1]]
        if scan:
            x, _ = jax.lax.scan(lambda h, p: (block(p, h, shape), None), x, params["blocks"])
        else:
            for p in params["blocks"]:
                x = block(p, x, shape)
        logits = (norm(x, params["norm"]) @ params["head"]).astype(jnp.float32)
        logp = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logp, batch[:, 1:, None], -1).mean()

    return loss


loss = loss_of(LLAMA_7B)


def example_inputs(batch: int = 1, length: int = 2048) -> tuple[Any, ...]:
    """Shapes for `loss`."""
    shape = replace(LLAMA_7B, batch=batch, length=length)
    return parameters(shape), jax.ShapeDtypeStruct((batch, length + 1), "int32")
