"""VGG (Simonyan and Zisserman, 2015): stacks of 3x3 convolutions, pooling, dense layers."""

import itertools
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

import ckpt.numpy as cnp
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the network.

    Attributes:
        size: height and width of an image, in pixels; every stage halves it.
        channels: of an image.
        convolutions: how many each stage has: 2, 2, 3, 3, 3 for VGG16 and 2, 2, 4, 4, 4 for VGG19.
        widths: channels of each stage.
        hidden: widths of the dense layers before the last.
        classes: number of classes.
    """

    model: Literal["vgg"] = "vgg"
    size: PositiveInt = 8
    channels: PositiveInt = 3
    convolutions: list[PositiveInt] = Field(default=[1, 2], min_length=1)
    widths: list[PositiveInt] = Field(default=[4, 6], min_length=1)
    hidden: list[PositiveInt] = Field(default=[8])
    classes: PositiveInt = 5
    batch: PositiveInt = 2

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_stages(self.size, self.convolutions, self.widths)
        return self


def check_stages(size: int, convolutions: list[int], widths: list[int]) -> None:
    """Refuse stages that do not go with one another or with the image.

    Raises:
        ValueError: says what does not fit.
    """
    if len(convolutions) != len(widths):
        raise ValueError("convolutions and widths must name the same number of stages")
    if size % 2 ** len(widths):
        raise ValueError(f"size {size} is not divisible by 2**stages = {2 ** len(widths)}")


def conv(n_in: int, n_out: int, kernel: int) -> Tree:
    """A convolution with a bias."""
    std = (2.0 / (n_in * kernel * kernel)) ** 0.5
    return {"w": Parameter((n_out, n_in, kernel, kernel), std), "b": Parameter((n_out,))}


def dense(n_in: int, n_out: int) -> Tree:
    """A dense layer."""
    return {"w": Parameter((n_in, n_out), (2.0 / n_in) ** 0.5), "b": Parameter((n_out,))}


def encoder(channels: int, convolutions: list[int], widths: list[int]) -> Tree:
    """The convolutions of every stage."""
    stages = []
    for count, (n_in, n_out) in zip(
        convolutions, itertools.pairwise([channels, *widths]), strict=True
    ):
        stages.append([conv(n_in if i == 0 else n_out, n_out, 3) for i in range(count)])
    return stages


def parameters(config: Config) -> Tree:
    """Convolutions, then dense layers."""
    left = config.size // 2 ** len(config.widths)
    layers = [config.widths[-1] * left * left, *config.hidden, config.classes]
    return {
        "stages": encoder(config.channels, config.convolutions, config.widths),
        "dense": [dense(*pair) for pair in itertools.pairwise(layers)],
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and labels."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch,), below=config.classes),
    )


def convolve(p: Tree, x: Any, padding: int = 1) -> Any:
    """A convolution with a bias."""
    return cnp.conv2d(x, p["w"], stride=1, padding=padding) + p["b"][:, None, None]


def stage(p: Tree, x: Any) -> Any:
    """Convolutions with rectifiers, then pooling."""
    for one in p:
        x = np.maximum(convolve(one, x), 0)
    return cnp.max_pool2d(x, 2)


def make_logits(config: Config) -> Callable[..., Any]:
    """`logits(params, images)`."""
    del config  # the parameters say it all

    def logits(params: Tree, images: Any) -> Any:
        x = images
        for p in params["stages"]:
            x = stage(p, x)
        x = np.reshape(x, (x.shape[0], -1))
        for p in params["dense"][:-1]:
            x = np.maximum(x @ p["w"] + p["b"], 0)
        return x @ params["dense"][-1]["w"] + params["dense"][-1]["b"]

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
