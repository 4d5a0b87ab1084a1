"""The losses of the suite as the documentation of PyTorch would write them."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812  # as all of its documentation calls it

from experiments.models.model import ModelConfig, Tree


def _classes(labels: Any) -> Any:
    return labels.long()


def _linear(p: Tree, x: Any) -> Any:
    return x @ p["w"] + p["b"]


def _mlp(_: Any) -> Callable[..., Any]:
    def loss(params: Tree, x: Any, labels: Any) -> Any:
        for layer in params[:-1]:
            x = F.relu(_linear(layer, x))
        return F.cross_entropy(_linear(params[-1], x), _classes(labels))

    return loss


def _gpt(config: Any) -> Callable[..., Any]:
    def norm(p: Tree, x: Any) -> Any:
        return F.layer_norm(x, (config.width,), p["scale"], p["shift"])

    def attention(p: Tree, x: Any) -> Any:
        batch, length, width = x.shape
        parts = _linear(p["qkv"], x).split(width, dim=-1)
        heads = (y.view(batch, length, config.heads, -1).transpose(1, 2) for y in parts)
        seen = F.scaled_dot_product_attention(*heads, is_causal=True)
        return _linear(p["merge"], seen.transpose(1, 2).reshape(batch, length, width))

    def loss(params: Tree, tokens: Any, targets: Any) -> Any:
        x = F.embedding(tokens, params["token"]) + params["position"]
        for p in params["blocks"]:
            x = x + attention(p, norm(p["norm1"], x))
            hidden = F.gelu(_linear(p["grow"], norm(p["norm2"], x)), approximate="tanh")
            x = x + _linear(p["shrink"], hidden)
        logits = norm(params["norm"], x) @ params["token"].T
        return F.cross_entropy(logits.flatten(0, 1), _classes(targets).flatten())

    return loss


def _batch_norm(p: Tree, x: Any) -> Any:
    return F.batch_norm(x, None, None, p["scale"], p["shift"], training=True, eps=1e-5)


def _resnet(_: Any) -> Callable[..., Any]:
    def block(p: Tree, x: Any, stride: int) -> Any:
        y = F.relu(_batch_norm(p["norm1"], F.conv2d(x, p["conv1"], None, stride, 1)))
        y = _batch_norm(p["norm2"], F.conv2d(y, p["conv2"], None, 1, 1))
        if "conv3" in p:
            x = _batch_norm(p["norm3"], F.conv2d(x, p["conv3"], None, stride))
        return F.relu(x + y)

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        x = F.relu(_batch_norm(params["norm"], F.conv2d(images, params["stem"], None, 1, 1)))
        for i, stage in enumerate(params["stages"]):
            for j, p in enumerate(stage):
                x = block(p, x, 2 if i > 0 and j == 0 else 1)
        return F.cross_entropy(_linear(params["head"], x.mean((2, 3))), _classes(labels))

    return loss


def _unet(_: Any) -> Callable[..., Any]:
    def level(p: Tree, x: Any) -> Any:
        for conv in p:
            x = F.relu(F.conv2d(x, conv["w"], conv["b"], padding=1))
        return x

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        x, skips = images, []
        for p in params["down"][:-1]:
            x = level(p, x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = level(params["down"][-1], x)
        for p in params["up"]:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = level(p, torch.cat([x, skips.pop()], dim=1))
        logits = F.conv2d(x, params["head"]["w"], params["head"]["b"])
        return F.cross_entropy(logits, _classes(labels))

    return loss


def _lstm(config: Any) -> Callable[..., Any]:
    cell = torch.nn.LSTM(config.features, config.hidden)
    one = torch.zeros(4 * config.hidden)
    one[config.hidden : 2 * config.hidden] = 1.0  # a new cell remembers

    def loss(params: Tree, sequences: Any, labels: Any) -> Any:
        weights = {
            "weight_ih_l0": params["input"].T,
            "weight_hh_l0": params["state"].T,
            "bias_ih_l0": params["bias"],
            "bias_hh_l0": one,
        }
        _, (hidden, _) = torch.func.functional_call(cell, weights, (sequences,))
        return F.cross_entropy(_linear(params["head"], hidden[0]), _classes(labels))

    return loss


def _heat(config: Any) -> Callable[..., Any]:
    def flow(u: Any, k: Any, axis: int) -> Any:
        face = 0.5 * (k + torch.roll(k, -1, axis)) * (torch.roll(u, -1, axis) - u)
        return face - torch.roll(face, 1, axis)

    def loss(u: Any, measured: Any) -> Any:
        for _ in range(config.steps):
            k = 1.0 + config.nonlinearity * u * u
            u = u + config.rate * (flow(u, k, 1) + flow(u, k, 2))
        return 0.5 * F.mse_loss(u, measured)

    return loss


def _gaussian_process(config: Any) -> Callable[..., Any]:
    n = config.batch

    def loss(params: Tree, x: Any, y: Any) -> Any:
        z = x / params["scales"].exp()
        norms = (z * z).sum(1)
        squares = (norms[:, None] + norms - 2.0 * (z @ z.T)).clamp(min=0.0)
        covariance = (params["signal"] - 0.5 * squares).exp()
        covariance = covariance + params["noise"].exp() * torch.eye(n, dtype=x.dtype)
        factor = torch.linalg.cholesky(covariance)
        fit = 0.5 * y @ torch.cholesky_solve(y[:, None], factor)[:, 0]
        return (fit + factor.diagonal().log().sum()) / n + 0.5 * torch.log(
            torch.tensor(torch.pi * 2)
        )

    return loss


def _small(config: Any) -> Callable[..., Any]:
    def loss(params: Tree, x: Any) -> Any:
        for _ in range(config.turns):
            x = x - 0.5 * torch.tanh(x * params["factor"] + params["shift"])
        return (x * x).sum()

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


def loss_of(name: str, config: ModelConfig) -> Callable[..., Any]:
    """`loss(params, *batch)`, for a call of `backward` on what it returns."""
    return LOSSES[name](config)
