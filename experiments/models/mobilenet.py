"""MobileNet (Howard et al., 2017): convolutions of single channels and products across them."""

import itertools
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

import ckpt.numpy as cnp
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Tree
from experiments.models.resnet import kernel_of, norm, normalise
from experiments.models.vgg import dense


class Config(ModelConfig):
    """Sizes of the network.

    Attributes:
        size: height and width of an image, in pixels.
        channels: of an image.
        widths: channels of the stem and after each block.
        strides: of each block; as many as there are widths after the first.
        classes: number of classes.
    """

    model: Literal["mobilenet"] = "mobilenet"
    size: PositiveInt = 8
    channels: PositiveInt = 3
    widths: list[PositiveInt] = Field(default=[4, 6, 8], min_length=2)
    strides: list[Literal[1, 2]] = Field(default=[1, 2])
    classes: PositiveInt = 5
    batch: PositiveInt = 2

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.strides) != len(self.widths) - 1:
            raise ValueError("strides must name one for each of the widths after the first")
        return self


def _block(n_in: int, n_out: int) -> Tree:
    return {
        "depth": kernel_of(1, n_in, 3),
        "norm1": norm(n_in),
        "point": kernel_of(n_in, n_out, 1),
        "norm2": norm(n_out),
    }


def parameters(config: Config) -> Tree:
    """Stem, blocks, head."""
    return {
        "stem": kernel_of(config.channels, config.widths[0], 3),
        "norm": norm(config.widths[0]),
        "blocks": [_block(*pair) for pair in itertools.pairwise(config.widths)],
        "head": dense(config.widths[-1], config.classes),
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and labels."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch,), below=config.classes),
    )


def block(p: Tree, x: Any, stride: int) -> Any:
    """A convolution of every channel by itself, then one of single pixels."""
    y = cnp.conv2d(x, p["depth"], stride=stride, padding=1, groups=x.shape[1])
    y = np.maximum(normalise(p["norm1"], y), 0)
    y = cnp.conv2d(y, p["point"], stride=1, padding=0)
    return np.maximum(normalise(p["norm2"], y), 0)


def make_logits(config: Config) -> Callable[..., Any]:
    """`logits(params, images)`."""

    def logits(params: Tree, images: Any) -> Any:
        x = cnp.conv2d(images, params["stem"], stride=2, padding=1)
        x = np.maximum(normalise(params["norm"], x), 0)
        for p, stride in zip(params["blocks"], config.strides, strict=True):
            x = block(p, x, stride)
        return np.mean(x, axis=(2, 3)) @ params["head"]["w"] + params["head"]["b"]

    return logits


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, images, labels)`: mean cross-entropy."""
    logits = make_logits(config)

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        return cross_entropy(logits(params, images), labels)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss, make_logits)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
