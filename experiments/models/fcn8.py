"""FCN-8 (Long, Shelhamer and Darrell, 2015): the convolutions of VGG, one class per pixel.

Scores of three resolutions are added on the way up. Ours differ in that the dense layers are
convolutions of the given widths, and that upsampling repeats pixels instead of learning to.
"""

import itertools
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Tree
from experiments.models.vgg import check_stages, conv, convolve, encoder, stage


class Config(ModelConfig):
    """Sizes of the network.

    Attributes:
        size: height and width of an image, in pixels; every stage halves it.
        channels: of an image.
        convolutions: how many each stage has.
        widths: channels of each stage; the last three have scores.
        hidden: channels of the convolutions that stand for VGG's dense layers.
        classes: classes per pixel.
    """

    model: Literal["fcn8"] = "fcn8"
    size: PositiveInt = 8
    channels: PositiveInt = 3
    convolutions: list[PositiveInt] = Field(default=[1, 1, 1], min_length=3)
    widths: list[PositiveInt] = Field(default=[3, 4, 5], min_length=3)
    hidden: list[PositiveInt] = Field(default=[6])
    classes: PositiveInt = 2
    batch: PositiveInt = 2

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_stages(self.size, self.convolutions, self.widths)
        return self


def parameters(config: Config) -> Tree:
    """Stages, the convolutions after them, and a score of each of three resolutions."""
    last = [config.widths[-1], *config.hidden]
    return {
        "stages": encoder(config.channels, config.convolutions, config.widths),
        "hidden": [conv(*pair, 3) for pair in itertools.pairwise(last)],
        "scores": [conv(n, config.classes, 1) for n in (last[-1], *config.widths[-2:-4:-1])],
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and one label per pixel."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch, config.size, config.size), below=config.classes),
    )


def enlarge(x: Any, times: int) -> Any:
    """Every pixel becomes a square."""
    return np.repeat(np.repeat(x, times, axis=2), times, axis=3)


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, images, labels)`: mean cross-entropy over all pixels."""
    coarsest = 2 ** (len(config.widths) - 2)

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        x, seen = images, []
        for p in params["stages"]:
            x = stage(p, x)
            seen.append(x)
        for p in params["hidden"]:
            x = np.maximum(convolve(p, x), 0)
        deep, middle, fine = params["scores"]
        score = enlarge(convolve(deep, x, 0), 2) + convolve(middle, seen[-2], 0)
        score = enlarge(score, 2) + convolve(fine, seen[-3], 0)
        return cross_entropy(np.moveaxis(enlarge(score, coarsest), 1, -1), labels)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
