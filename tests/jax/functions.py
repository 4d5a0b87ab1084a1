"""Small functions of every kind that JAX users write, with arguments."""

from functools import partial

import jax
import jax.numpy as jnp


def numbers(*shape, seed=0, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed + 7 * len(shape)), shape, dtype)


def mlp(params, x):
    for w, b in params:
        x = jnp.tanh(x @ w + b)
    return (x * x).mean()


def transcendental(w, x):
    y = jnp.sin(x @ w)
    return (jnp.exp(-y * y) * jnp.cos(y)).sum() + jax.nn.logsumexp(y)


def softmax_attention(w, x):
    q, k, v = jnp.split(x @ w, 3, -1)
    weights = jax.nn.softmax(q @ k.T / q.shape[-1] ** 0.5)
    return jnp.square(weights @ v).mean()


def several_results(w, x):
    y = jax.nn.gelu(x @ w)
    return {"loss": y.mean(), "aux": (y, jnp.argmax(y, -1), x)}


@jax.custom_vjp
def clipped(x):
    return x * x


clipped.defvjp(lambda x: (x * x, x), lambda x, ct: (jnp.clip(2 * x * ct, -0.1, 0.1),))


@jax.custom_jvp
def smooth(x):
    return jnp.maximum(x, 0)


smooth.defjvp(lambda p, t: (smooth(*p), jax.nn.sigmoid(p[0]) * t[0]))


def custom_rules(w, x):
    return smooth(clipped(x @ w) @ w.T).sum()


def scanned(ws, x):
    def body(h, w):
        h = jnp.tanh(h @ w)
        return h, h.sum()

    h, sums = jax.lax.scan(body, x, ws)
    return (h * h).mean() + sums.mean()


def nested_scan(ws, x):
    def inner(h, w):
        return jnp.sin(h @ w), None

    def outer(h, w):
        return jax.lax.scan(inner, h, w)

    return (jax.lax.scan(outer, x, ws.reshape(2, 2, *ws.shape[1:]))[0] ** 2).mean()


def branches(w, x):
    y = jax.lax.cond(x.sum() > 0, lambda a: jnp.sin(a @ w), lambda a: jnp.exp(-((a @ w) ** 2)), x)
    return jax.lax.fori_loop(0, 3, lambda _, z: jnp.tanh(z), y).sum()


def dropout(w, x, key):
    keep = jax.random.bernoulli(key, 0.5, x.shape)
    h = jnp.where(keep, x, 0) @ w
    more = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.5, h.shape)
    return (jnp.where(more, jnp.tanh(h), 0) @ w.T).sum()


def inner_checkpoint(w, x):
    f = partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable)
    return f(lambda w, x: jnp.sin(jnp.sin(x @ w) @ w))(w, x).sum() + jnp.cos(x @ w).sum()


def mixed_precision(w, x):
    h = x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)
    return jnp.square(jax.nn.relu(h).astype(jnp.float32)).mean()


def gathers(table, x):
    rows = jnp.argsort(x[:, 0])[:4]
    picked = table[rows] * jnp.sort(table, axis=0)[:4]
    return (table.at[rows].add(picked) ** 2).sum() + jnp.cumsum(picked).mean()


def convolution(kernel, x):
    image = x.reshape(1, 4, -1, 1)
    y = jax.lax.conv_general_dilated(
        image, kernel, (1, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jax.lax.reduce_window(
        jax.nn.relu(y), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
    ).sum()


W, X = numbers(16, 16) / 4, numbers(64, 16, seed=1)

CASES = {
    "mlp": (mlp, ([(W, W[0]), (W.T, W[1]), (W, W[2])], X)),
    "transcendental": (transcendental, (W, X)),
    "softmax_attention": (softmax_attention, (numbers(16, 48) / 4, X)),
    "custom_rules": (custom_rules, (W, X)),
    "scanned": (scanned, (numbers(4, 16, 16) / 4, X)),
    "nested_scan": (nested_scan, (numbers(4, 16, 16) / 4, X)),
    "branches": (branches, (W, X)),
    "dropout": (dropout, (W, X, jax.random.key(3))),
    "dropout_old_key": (dropout, (W, X, jax.random.PRNGKey(3))),
    "inner_checkpoint": (inner_checkpoint, (W, X)),
    "mixed_precision": (mixed_precision, (W, X)),
    "gathers": (gathers, (W, X)),
    "convolution": (convolution, (numbers(3, 3, 1, 8), X)),
}
"""Name, function, arguments; the first argument is the one to differentiate by."""
