"""A U-Net: an encoder and a decoder with skip connections, one class per pixel."""

import itertools
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import PositiveInt, model_validator

import ckpt.numpy as cnp
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the network.

    Attributes:
        size: height and width of an image, in pixels; divisible by 2**depth.
        channels: of an image.
        width: channels of the first level; every level down doubles them.
        depth: how many times the resolution is halved.
        classes: classes per pixel.
    """

    model: Literal["unet"] = "unet"
    size: PositiveInt = 16
    channels: PositiveInt = 1
    width: PositiveInt = 4
    depth: PositiveInt = 2
    classes: PositiveInt = 2
    batch: PositiveInt = 4

    @model_validator(mode="after")
    def _halves_exactly(self) -> Self:
        if self.size % 2**self.depth:
            raise ValueError(f"size {self.size} is not divisible by 2**depth = {2**self.depth}")
        return self


def _conv(n_in: int, n_out: int, kernel: int) -> Tree:
    std = (2.0 / (n_in * kernel * kernel)) ** 0.5
    return {"w": Parameter((n_out, n_in, kernel, kernel), std), "b": Parameter((n_out,))}


def _level(n_in: int, n_out: int) -> Tree:
    return [_conv(n_in, n_out, 3), _conv(n_out, n_out, 3)]


def parameters(config: Config) -> Tree:
    """Two convolutions per level on the way down and again on the way up, and a head."""
    widths = [config.width * 2**i for i in range(config.depth + 1)]
    down = [_level(*pair) for pair in itertools.pairwise([config.channels, *widths])]
    up = [_level(widths[i + 1] + widths[i], widths[i]) for i in reversed(range(config.depth))]
    return {"down": down, "up": up, "head": _conv(config.width, config.classes, 1)}


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and one label per pixel."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch, config.size, config.size), below=config.classes),
    )


def convolve(p: Tree, x: Any, padding: int) -> Any:
    """A convolution with a bias."""
    return cnp.conv2d(x, p["w"], stride=1, padding=padding) + p["b"][:, None, None]


def level(p: Tree, x: Any) -> Any:
    """Two 3x3 convolutions with rectifiers."""
    for conv in p:
        x = np.maximum(convolve(conv, x, padding=1), 0)
    return x


def upsample(x: Any) -> Any:
    """Every pixel becomes two by two."""
    return np.repeat(np.repeat(x, 2, axis=2), 2, axis=3)


def make_logits(config: Config) -> Callable[..., Any]:
    """`logits(params, images)`: of every pixel, classes last."""
    del config  # the parameters say it all

    def logits(params: Tree, images: Any) -> Any:
        x, skips = images, []
        for p in params["down"][:-1]:
            x = level(p, x)
            skips.append(x)
            x = cnp.max_pool2d(x, 2)
        x = level(params["down"][-1], x)
        for p in params["up"]:
            x = level(p, np.concatenate([upsample(x), skips.pop()], axis=1))
        return np.moveaxis(convolve(params["head"], x, padding=0), 1, -1)

    return logits


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, images, labels)`: mean cross-entropy over all pixels."""
    logits = make_logits(config)

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        return cross_entropy(logits(params, images), labels)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss, make_logits)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
