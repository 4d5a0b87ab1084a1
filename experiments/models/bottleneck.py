"""A residual network with bottlenecks (He et al., 2016): ResNet50 has 3, 4, 6 and 3 of them."""

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
        stem: channels of the 7x7 convolution before the first stage.
        widths: channels inside the blocks of each stage; outside there are four times as many.
        blocks: of each stage; every stage after the first halves the resolution.
        classes: number of classes.
    """

    model: Literal["bottleneck"] = "bottleneck"
    size: PositiveInt = 16
    channels: PositiveInt = 3
    stem: PositiveInt = 4
    widths: list[PositiveInt] = Field(default=[2, 3], min_length=1)
    blocks: list[PositiveInt] = Field(default=[2, 1], min_length=1)
    classes: PositiveInt = 5
    batch: PositiveInt = 2

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.blocks) != len(self.widths):
            raise ValueError("blocks and widths must name the same number of stages")
        return self


_GROWTH = 4


def _block(n_in: int, width: int, *, project: bool) -> Tree:
    block = {
        "reduce": kernel_of(n_in, width, 1),
        "norm1": norm(width),
        "conv": kernel_of(width, width, 3),
        "norm2": norm(width),
        "expand": kernel_of(width, _GROWTH * width, 1),
        "norm3": norm(_GROWTH * width),
    }
    if project:
        block |= {"project": kernel_of(n_in, _GROWTH * width, 1), "norm4": norm(_GROWTH * width)}
    return block


def parameters(config: Config) -> Tree:
    """Stem, stages of blocks, head. The first block of every stage projects its shortcut."""
    stages, n_in = [], config.stem
    for width, count in zip(config.widths, config.blocks, strict=True):
        stage = []
        for i in range(count):
            stage.append(_block(n_in, width, project=i == 0))
            n_in = _GROWTH * width
        stages.append(stage)
    return {
        "stem": kernel_of(config.channels, config.stem, 7),
        "norm": norm(config.stem),
        "stages": stages,
        "head": dense(n_in, config.classes),
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and labels."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch,), below=config.classes),
    )


def block(p: Tree, x: Any, stride: int) -> Any:
    """Fewer channels, a 3x3 convolution, and all channels again, beside a shortcut."""
    y = cnp.conv2d(x, p["reduce"], stride=1, padding=0)
    y = np.maximum(normalise(p["norm1"], y), 0)
    y = cnp.conv2d(y, p["conv"], stride=stride, padding=1)
    y = np.maximum(normalise(p["norm2"], y), 0)
    y = normalise(p["norm3"], cnp.conv2d(y, p["expand"], stride=1, padding=0))
    if "project" in p:
        x = normalise(p["norm4"], cnp.conv2d(x, p["project"], stride=stride, padding=0))
    return np.maximum(x + y, 0)


def make_logits(config: Config) -> Callable[..., Any]:
    """`logits(params, images)`."""
    del config  # the parameters say it all

    def logits(params: Tree, images: Any) -> Any:
        x = cnp.conv2d(images, params["stem"], stride=2, padding=3)
        x = np.maximum(normalise(params["norm"], x), 0)
        x = cnp.max_pool2d(x, 3, stride=2, padding=1)
        for i, stage in enumerate(params["stages"]):
            for j, p in enumerate(stage):
                x = block(p, x, stride=2 if i > 0 and j == 0 else 1)
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
