"""GPT-2 in plain JAX: shapes, a loss, layer by layer or as one scan, and nothing allocated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a GPT-2.

    Attributes:
        layers: transformer blocks.
        width: of a token's vector.
        heads: of attention.
        vocabulary: number of tokens.
        length: tokens of a sequence.
        batch: sequences of a step.
        dtype: of parameters and activations.
    """

    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 50257
    length: int = 1024
    batch: int = 4
    dtype: str = "float32"


GPT2 = Shape()
GPT2_MEDIUM = Shape(layers=24, width=1024, heads=16)
GPT2_LARGE = Shape(layers=36, width=1280, heads=20)
GPT2_XL = Shape(layers=48, width=1600, heads=25)
GPT3 = Shape(layers=96, width=12288, heads=96, length=2048, batch=1, dtype="bfloat16")


def norm(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Layer norm over the last axis, in f32."""
    wide = x.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    centred = wide - mean
    variance = (centred * centred).mean(-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + 1e-5)).astype(x.dtype) * scale + shift


def attention(p: dict[str, Any], x: jax.Array, heads: int) -> jax.Array:
    """Causal self-attention: f[b,t,d] -> f[b,t,d]."""
    b, t, d = x.shape
    qkv = x @ p["qkv"] + p["qkv_b"]
    q, k, v = (
        part.reshape(b, t, heads, d // heads).transpose(0, 2, 1, 3)
        for part in jnp.split(qkv, 3, axis=-1)
    )
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k) / (d // heads) ** 0.5
    causal = jnp.tril(jnp.ones((t, t), dtype=bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, jnp.finfo(scores.dtype).min), axis=-1)
    mixed = jnp.einsum("bhqk,bhkd->bhqd", weights, v).transpose(0, 2, 1, 3).reshape(b, t, d)
    return checkpoint_name(mixed @ p["out"] + p["out_b"], "attention")


def block(p: dict[str, Any], x: jax.Array, heads: int) -> jax.Array:
    """One transformer block, norms first."""
    x = x + attention(p, norm(x, p["ln1"], p["ln1_b"]), heads)
    h = jax.nn.gelu(norm(x, p["ln2"], p["ln2_b"]) @ p["up"] + p["up_b"], approximate=True)
    return x + checkpoint_name(h @ p["down"] + p["down_b"], "mlp")


def block_parameters(shape: Shape, stacked: int | None = None) -> dict[str, jax.ShapeDtypeStruct]:
    """The parameters of one block, or of all of them stacked."""
    d = shape.width
    sizes = {
        "ln1": (d,), "ln1_b": (d,), "qkv": (d, 3 * d), "qkv_b": (3 * d,),
        "out": (d, d), "out_b": (d,), "ln2": (d,), "ln2_b": (d,),
        "up": (d, 4 * d), "up_b": (4 * d,), "down": (4 * d, d), "down_b": (d,),
    }  # fmt: skip
    front = () if stacked is None else (stacked,)
    return {k: jax.ShapeDtypeStruct((*front, *s), shape.dtype) for k, s in sizes.items()}


def parameters(shape: Shape, *, scan: bool = False) -> dict[str, Any]:
    """All parameters, as shapes."""
    d = shape.width
    blocks: Any = (
        block_parameters(shape, shape.layers)
        if scan
        else [block_parameters(shape) for _ in range(shape.layers)]
    )
    return {
        "wte": jax.ShapeDtypeStruct((shape.vocabulary, d), shape.dtype),
        "wpe": jax.ShapeDtypeStruct((shape.length, d), shape.dtype),
        "blocks": blocks,
        "ln": jax.ShapeDtypeStruct((d,), shape.dtype),
        "ln_b": jax.ShapeDtypeStruct((d,), shape.dtype),
    }


def tokens(shape: Shape) -> jax.ShapeDtypeStruct:
    """A batch of token numbers: inputs and, one to the right, targets."""
    return jax.ShapeDtypeStruct((shape.batch, shape.length + 1), "int32")


def loss_of(
    shape: Shape, *, wrap: Callable[..., Any] | None = None, scan: bool = False
) -> Callable[..., jax.Array]:
    """The training loss: ``(parameters, i32[b,t+1]) -> f32[]``.

    Args:
        shape: sizes.
        wrap: applied to the block function, such as a `jax.checkpoint` with a policy.
        scan: blocks in a `lax.scan` over stacked parameters.
    """

    def one(p: dict[str, Any], x: jax.Array) -> jax.Array:
        return block(p, x, shape.heads)

    run = wrap(one) if wrap is not None else one

    def loss(params: dict[str, Any], batch: jax.Array) -> jax.Array:
        inputs, targets = batch[:, :-1], batch[:, 1:]
        x = params["wte"][inputs] + params["wpe"]
        if scan:
            x, _ = jax.lax.scan(lambda h, p: (run(p, h), None), x, params["blocks"])
        else:
            for p in params["blocks"]:
                x = run(p, x)
        logits = (norm(x, params["ln"], params["ln_b"]) @ params["wte"].T).astype(jnp.float32)
        logp = jax.nn.log_softmax(logits)
        return -jnp.take_along_axis(logp, targets[..., None], -1).mean()

    return loss


loss = loss_of(GPT2)


def example_inputs(batch: int = 4, length: int = 1024) -> tuple[Any, ...]:
    """Shapes for `loss`: GPT-2 124M, unrolled."""
    shape = replace(GPT2, batch=batch, length=length)
    return parameters(shape), tokens(shape)


def arrays(specs: Any, seed: int = 0, vocabulary: int = 100) -> Any:
    """Fill shapes with numbers: small ones for parameters, tokens for integers."""
    leaves, tree = jax.tree.flatten(specs)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    made = [
        jax.random.randint(k, s.shape, 0, vocabulary, s.dtype)
        if jnp.issubdtype(s.dtype, jnp.integer)
        else 0.02 * jax.random.normal(k, s.shape, s.dtype) + (1.0 if s.ndim == 1 else 0.0)
        for k, s in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, made)
