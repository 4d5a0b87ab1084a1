"""SegNet (Badrinarayanan, Kendall and Cipolla, 2017): what was pooled goes back to where it was.

Unpooling puts a pixel where the greatest of its window stood. Ours compares with the pooled image
instead of keeping positions, so that of equal pixels all get it.
"""

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

import ckpt.numpy as cnp
from experiments.models.cross_entropy import cross_entropy
from experiments.models.fcn8 import enlarge
from experiments.models.model import Input, Model, ModelConfig, Tree
from experiments.models.resnet import norm, normalise
from experiments.models.vgg import check_stages, conv, convolve


class Config(ModelConfig):
    """Sizes of the network.

    Attributes:
        size: height and width of an image, in pixels; every stage halves it.
        channels: of an image.
        convolutions: how many each stage has, on the way down and up again.
        widths: channels of each stage.
        classes: classes per pixel.
    """

    model: Literal["segnet"] = "segnet"
    size: PositiveInt = 8
    channels: PositiveInt = 3
    convolutions: list[PositiveInt] = Field(default=[1, 2], min_length=1)
    widths: list[PositiveInt] = Field(default=[3, 4], min_length=1)
    classes: PositiveInt = 2
    batch: PositiveInt = 2

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_stages(self.size, self.convolutions, self.widths)
        return self


def _layer(n_in: int, n_out: int) -> Tree:
    return {"conv": conv(n_in, n_out, 3), "norm": norm(n_out)}


def parameters(config: Config) -> Tree:
    """Stages on the way down, stages on the way up, and a head."""
    down, up = [], []
    ends = [config.channels, *config.widths]
    for i, count in enumerate(config.convolutions):
        n_in, n_out = ends[i], ends[i + 1]
        down.append([_layer(n_in if j == 0 else n_out, n_out) for j in range(count)])
        back = n_in if i else n_out  # the last stage up leaves its channels to the head
        up.append([_layer(n_out, n_out if j < count - 1 else back) for j in range(count)])
    return {"down": down, "up": up[::-1], "head": conv(config.widths[0], config.classes, 1)}


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and one label per pixel."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch, config.size, config.size), below=config.classes),
    )


def layers(p: Tree, x: Any) -> Any:
    """Convolutions, each normalised and rectified."""
    for one in p:
        x = np.maximum(normalise(one["norm"], convolve(one["conv"], x)), 0)
    return x


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, images, labels)`: mean cross-entropy over all pixels."""
    del config  # the parameters say it all

    def loss(params: Tree, images: Any, labels: Any) -> Any:
        x, greatest = images, []
        for p in params["down"]:
            x = layers(p, x)
            pooled = cnp.max_pool2d(x, 2)
            greatest.append(x == enlarge(pooled, 2))
            x = pooled
        for p in params["up"]:
            x = layers(p, np.where(greatest.pop(), enlarge(x, 2), 0.0))
        logits = convolve(params["head"], x, 0)
        return cross_entropy(np.moveaxis(logits, 1, -1), labels)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
