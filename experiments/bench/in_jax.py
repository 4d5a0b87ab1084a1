"""The losses of the suite as the documentation of JAX would write them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.models.model import ModelConfig, Tree


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean over all positions."""
    log_probability = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_probability, labels[..., None], axis=-1))


def _mlp(_: Any) -> Callable[..., Any]:
    def loss(params: Tree, x: Any, labels: Any) -> Any:
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return cross_entropy(x @ params[-1]["w"] + params[-1]["b"], labels)

    return loss


def _layer_norm(p: Tree, x: Any) -> Any:
    mean, variance = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * p["scale"] + p["shift"]


def _gpt(config: Any) -> Callable[..., Any]:
    heads = config.heads

    def attention(p: Tree, x: Any) -> Any:
        batch, length, width = x.shape
        qkv = (x @ p["qkv"]["w"] + p["qkv"]["b"]).reshape(batch, length, 3, heads, width // heads)
        seen = jax.nn.dot_product_attention(*(qkv[:, :, i] for i in range(3)), is_causal=True)
        return seen.reshape(batch, length, width) @ p["merge"]["w"] + p["merge"]["b"]

    def loss(params: Tree, tokens: Any, targets: Any) -> Any:
        x = params["token"][tokens] + params["position"]
        for p in params["blocks"]:
            x = x + attention(p, _layer_norm(p["norm1"], x))
            hidden = _layer_norm(p["norm2"], x) @ p["grow"]["w"] + p["grow"]["b"]
            hidden = jax.nn.gelu(hidden, approximate=True)
            x = x + hidden @ p["shrink"]["w"] + p["shrink"]["b"]
        return cross_entropy(_layer_norm(params["norm"], x) @ params["token"].T, targets)

    return loss


def _conv(x: Any, w: Any, stride: int, padding: int) -> Any:
    return lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2)


def _batch_norm(p: Tree, x: Any) -> Any:
    mean = jnp.mean(x, (0, 2, 3), keepdims=True)
    variance = jnp.var(x, (0, 2, 3), keepdims=True)
    scale, shift = p["scale"][:, None, None], p["shift"][:, None, None]
    return (x - mean) * lax.rsqrt(variance + 1e-5) * scale + shift


def _resnet(_: Any) -> Callable[..., Any]:
    def block(p: Tree, x: Any, stride: int) -> Any:
        y = jax.nn.relu(_batch_norm(p["norm1"], _conv(x, p["conv1"], stride, 1)))
        y = _batch_norm(p["norm2"], _conv(y, p["conv2"], 1, 1))
        if "conv3" in p:
            x = _batch_norm(p["norm3"], _conv(x, p["conv3"], stride, 0))
        return jax.nn.relu(x + y)

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        x = jax.nn.relu(_batch_norm(params["norm"], _conv(images, params["stem"], 1, 1)))
        for i, stage in enumerate(params["stages"]):
            for j, p in enumerate(stage):
                x = block(p, x, 2 if i > 0 and j == 0 else 1)
        logits = jnp.mean(x, (2, 3)) @ params["head"]["w"] + params["head"]["b"]
        return cross_entropy(logits, labels)

    return loss


def _unet(_: Any) -> Callable[..., Any]:
    def convolve(p: Tree, x: Any, padding: int) -> Any:
        return _conv(x, p["w"], 1, padding) + p["b"][:, None, None]

    def level(p: Tree, x: Any) -> Any:
        for conv in p:
            x = jax.nn.relu(convolve(conv, x, 1))
        return x

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        x, skips, window = images, [], (1, 1, 2, 2)
        for p in params["down"][:-1]:
            x = level(p, x)
            skips.append(x)
            x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        x = level(params["down"][-1], x)
        for p in params["up"]:
            x = jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=3)
            x = level(p, jnp.concatenate([x, skips.pop()], axis=1))
        return cross_entropy(jnp.moveaxis(convolve(params["head"], x, 0), 1, -1), labels)

    return loss


def _lstm(config: Any) -> Callable[..., Any]:
    def loss(params: Tree, sequences: Any, labels: Any) -> Any:
        def cell(state: Any, x: Any) -> tuple[Any, None]:
            hidden, memory = state
            gates = x @ params["input"] + hidden @ params["state"] + params["bias"]
            into, forget, candidate, out = jnp.split(gates, 4, axis=-1)
            kept = jax.nn.sigmoid(forget + 1.0) * memory
            memory = kept + jax.nn.sigmoid(into) * jnp.tanh(candidate)
            return (jax.nn.sigmoid(out) * jnp.tanh(memory), memory), None

        zero = jnp.zeros((config.batch, config.hidden), config.dtype)
        (hidden, _), _ = lax.scan(cell, (zero, zero), sequences)
        return cross_entropy(hidden @ params["head"]["w"] + params["head"]["b"], labels)

    return loss


def _heat(config: Any) -> Callable[..., Any]:
    def flow(u: Any, k: Any, axis: int) -> Any:
        face = 0.5 * (k + jnp.roll(k, -1, axis)) * (jnp.roll(u, -1, axis) - u)
        return face - jnp.roll(face, 1, axis)

    def advance(u: Any, _: None) -> tuple[Any, None]:
        k = 1.0 + config.nonlinearity * u * u
        return u + config.rate * (flow(u, k, 1) + flow(u, k, 2)), None

    def loss(initial: Any, measured: Any) -> Any:
        u, _ = lax.scan(advance, initial, length=config.steps)
        return 0.5 * jnp.mean((u - measured) ** 2)

    return loss


def _gaussian_process(config: Any) -> Callable[..., Any]:
    n = config.batch

    def loss(params: Tree, x: Any, y: Any) -> Any:
        z = x / jnp.exp(params["scales"])
        norms = jnp.sum(z * z, axis=1)
        squares = jnp.maximum(norms[:, None] + norms - 2.0 * (z @ z.T), 0.0)
        covariance = jnp.exp(params["signal"] - 0.5 * squares)
        covariance = covariance + jnp.exp(params["noise"]) * jnp.eye(n, dtype=config.dtype)
        factor = jnp.linalg.cholesky(covariance)
        fit = 0.5 * jnp.dot(y, jax.scipy.linalg.cho_solve((factor, True), y))
        volume = jnp.sum(jnp.log(jnp.diagonal(factor)))
        return (fit + volume) / n + 0.5 * jnp.log(2.0 * jnp.pi)

    return loss


def _small(config: Any) -> Callable[..., Any]:
    def loss(params: Tree, x: Any) -> Any:
        for _ in range(config.turns):
            x = x - 0.5 * jnp.tanh(x * params["factor"] + params["shift"])
        return jnp.sum(x * x)

    return loss


LOSSES: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "gaussian_process": _gaussian_process,
    "gpt": _gpt,
    "heat": _heat,
    "lstm": _lstm,
    "mlp": _mlp,
    "resnet": _resnet,
    "small": _small,
    "unet": _unet,
}
"""From a model's sizes to its loss, by the model's name."""


def step(name: str, config: ModelConfig, *, donate: bool) -> Any:
    """`step(params, *batch) -> (value, grads)`, jitted; the parameters' memory may be donated."""
    loss = LOSSES[name](config)
    return jax.jit(jax.value_and_grad(loss), donate_argnums=(0,) if donate else ())
