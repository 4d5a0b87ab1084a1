"""A residual network with batch normalisation (the batch's own statistics, as in training)."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

import ckpt.numpy as cnp
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the network.

    Attributes:
        size: height and width of an image, in pixels.
        channels: of an image.
        widths: channels of each stage; every stage after the first halves the resolution.
        blocks: residual blocks per stage.
        classes: number of classes.
    """

    model: Literal["resnet"] = "resnet"
    size: PositiveInt = 16
    channels: PositiveInt = 3
    widths: list[PositiveInt] = Field(default=[8, 16], min_length=1)
    blocks: PositiveInt = 1
    classes: PositiveInt = 10
    batch: PositiveInt = 16


def kernel_of(n_in: int, n_out: int, kernel: int) -> Parameter:
    """The kernel of a convolution without a bias."""
    return Parameter((n_out, n_in, kernel, kernel), (2.0 / (n_in * kernel * kernel)) ** 0.5)


def norm(channels: int) -> Tree:
    """Scale and shift of a batch normalisation."""
    return {"scale": Parameter((channels,), mean=1.0), "shift": Parameter((channels,))}


def _block(n_in: int, n_out: int) -> Tree:
    block = {
        "conv1": kernel_of(n_in, n_out, 3),
        "norm1": norm(n_out),
        "conv2": kernel_of(n_out, n_out, 3),
        "norm2": norm(n_out),
    }
    if n_in != n_out:
        block |= {"conv3": kernel_of(n_in, n_out, 1), "norm3": norm(n_out)}
    return block


def parameters(config: Config) -> Tree:
    """Stem, stages of blocks, head. A block that changes the width also projects its shortcut."""
    stages = []
    n_in = config.widths[0]
    for width in config.widths:
        stages.append([_block(n_in if i == 0 else width, width) for i in range(config.blocks)])
        n_in = width
    return {
        "stem": kernel_of(config.channels, config.widths[0], 3),
        "norm": norm(config.widths[0]),
        "stages": stages,
        "head": {
            "w": Parameter((n_in, config.classes), n_in**-0.5),
            "b": Parameter((config.classes,)),
        },
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and labels."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch,), below=config.classes),
    )


def normalise(p: Tree, x: Any) -> Any:
    """Batch normalisation over examples, rows and columns."""
    centred = x - np.mean(x, axis=(0, 2, 3), keepdims=True)
    variance = np.mean(centred * centred, axis=(0, 2, 3), keepdims=True)
    scale, shift = p["scale"][:, None, None], p["shift"][:, None, None]
    return centred / np.sqrt(variance + 1e-5) * scale + shift


def residual_block(p: Tree, x: Any, stride: int) -> Any:
    """Two 3x3 convolutions beside a shortcut."""
    y = cnp.conv2d(x, p["conv1"], stride=stride, padding=1)
    y = np.maximum(normalise(p["norm1"], y), 0)
    y = normalise(p["norm2"], cnp.conv2d(y, p["conv2"], stride=1, padding=1))
    if "conv3" in p:
        x = normalise(p["norm3"], cnp.conv2d(x, p["conv3"], stride=stride, padding=0))
    elif stride != 1:
        x = x[:, :, ::stride, ::stride]
    return np.maximum(x + y, 0)


def make_logits(config: Config) -> Callable[..., Any]:
    """`logits(params, images)`."""
    del config  # the parameters say it all

    def logits(params: Tree, images: Any) -> Any:
        x = cnp.conv2d(images, params["stem"], stride=1, padding=1)
        x = np.maximum(normalise(params["norm"], x), 0)
        for i, stage in enumerate(params["stages"]):
            for j, block in enumerate(stage):
                x = residual_block(block, x, stride=2 if i > 0 and j == 0 else 1)
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
