"""The block that the GPT and the vision transformer are made of: attention, then a perceptron.

Layer normalisation comes before each of the two, and each adds to the residual stream
(Radford et al., 2019).
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

import ckpt.numpy as cnp
from experiments.models.model import Array, Parameter, Tree

Gelu = Literal["erf", "tanh"]
Drop = Callable[[Any], Any]
"""Dropout of one site, or `keep`."""


def keep(x: Any) -> Any:
    """No dropout."""
    return x


def norm_parameters(width: int) -> Tree:
    """Scale and shift of a layer normalisation."""
    return {"scale": Parameter((width,), mean=1.0), "shift": Parameter((width,))}


def dense_parameters(n_in: int, n_out: int, std: float) -> Tree:
    """Weight and bias."""
    return {"w": Parameter((n_in, n_out), std), "b": Parameter((n_out,))}


def block_parameters(width: int, hidden: int, std: float, residual_std: float) -> Tree:
    """Parameters of one block.

    Args:
        width: of the residual stream.
        hidden: of the perceptron.
        std: of the first values of weights.
        residual_std: of those whose result is added to the residual stream.
    """
    return {
        "norm1": norm_parameters(width),
        "qkv": dense_parameters(width, 3 * width, std),
        "merge": dense_parameters(width, width, residual_std),
        "norm2": norm_parameters(width),
        "grow": dense_parameters(width, hidden, std),
        "shrink": dense_parameters(hidden, width, residual_std),
    }


def dense(p: Tree, x: Any) -> Any:
    """An affine map of the last axis."""
    return x @ p["w"] + p["b"]


def layer_norm(p: Tree, x: Any) -> Any:
    """Mean zero and variance one along the last axis, then scale and shift."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * p["scale"] + p["shift"]


def gelu(x: Any, form: Gelu) -> Any:
    """The Gaussian error linear unit: exact, or by the tanh that GPT-2 was trained with."""
    if form == "erf":
        return 0.5 * x * (1.0 + cnp.erf(x * math.sqrt(0.5)))
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))


def attention(p: Tree, x: Any, heads: int, mask: Array | None) -> Any:
    """Scaled dot-product attention over several heads.

    Args:
        p: a block's parameters.
        x: f[batch, position, width].
        heads: number of heads; divides the width.
        mask: bool[position, position], true where a row may look at a column; None for anywhere.
    """
    batch, length, width = x.shape
    qkv = dense(p["qkv"], x).reshape(batch, length, 3, heads, width // heads)
    q, k, v = np.transpose(qkv, (2, 0, 3, 1, 4))
    scores = q @ np.swapaxes(k, -1, -2) * (width // heads) ** -0.5
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    seen = cnp.softmax(scores, axis=-1) @ v
    return dense(p["merge"], np.swapaxes(seen, 1, 2).reshape(batch, length, width))


def block(p: Tree, x: Any, heads: int, *, mask: Array | None, form: Gelu, drop: Drop = keep) -> Any:
    """One block; `drop` is applied to what is added to the residual stream."""
    x = x + drop(attention(p, layer_norm(p["norm1"], x), heads, mask))
    hidden = gelu(dense(p["grow"], layer_norm(p["norm2"], x)), form)
    return x + drop(dense(p["shrink"], hidden))
