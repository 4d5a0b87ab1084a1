"""A small vision transformer: patches of an image are the tokens, and their mean is classified.

Patches may overlap: few images are enough to learn from them, where cut-up patches overfit.
"""

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import NonNegativeInt, PositiveInt, model_validator

from experiments.models import transformer
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the transformer.

    Attributes:
        size: height and width of an image, in pixels.
        channels: of an image.
        patch: height and width of a patch, in pixels.
        stride: pixels from one patch to the next.
        margin: pixels of zeros around the image.
        width: of the residual stream.
        hidden: of the perceptron in each block.
        layers: number of blocks.
        heads: of the attention; divides the width.
        classes: number of classes.
        gelu: the exact form or its approximation by tanh.
    """

    model: Literal["vit"] = "vit"
    size: PositiveInt = 8
    channels: PositiveInt = 1
    patch: PositiveInt = 4
    stride: PositiveInt = 2
    margin: NonNegativeInt = 1
    width: PositiveInt = 32
    hidden: PositiveInt = 64
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    classes: PositiveInt = 10
    gelu: transformer.Gelu = "tanh"
    batch: PositiveInt = 16

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if (self.size + 2 * self.margin - self.patch) % self.stride:
            raise ValueError(
                f"patches of {self.patch} pixels, {self.stride} apart, do not fill "
                f"{self.size} pixels with margins of {self.margin}"
            )
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} does not divide width {self.width}")
        return self

    @property
    def tokens(self) -> int:
        """Number of patches."""
        return ((self.size + 2 * self.margin - self.patch) // self.stride + 1) ** 2


def parameters(config: Config) -> Tree:
    """Embedding of patches and positions, blocks, final norm, head."""
    pixels = config.channels * config.patch**2
    width, std = config.width, config.width**-0.5
    residual_std = std * (2 * config.layers) ** -0.5
    return {
        "embed": transformer.dense_parameters(pixels, width, pixels**-0.5),
        "position": Parameter((config.tokens, width), 0.5),
        "blocks": [
            transformer.block_parameters(width, config.hidden, std, residual_std)
            for _ in range(config.layers)
        ],
        "norm": transformer.norm_parameters(width),
        "head": transformer.dense_parameters(width, config.classes, std),
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Images (batch, channel, row, column) and labels."""
    return (
        Input((config.batch, config.channels, config.size, config.size)),
        Input((config.batch,), below=config.classes),
    )


def patches(images: Any, config: Config) -> Any:
    """Cut images into patches: f[n, c, h, w] to f[n, tokens, patch * patch * c]."""
    x = np.pad(images, [(0, 0), (0, 0), (config.margin,) * 2, (config.margin,) * 2])
    last = x.shape[2] - config.patch + 1  # one past where the last patch starts
    pixels = [
        x[:, :, i : i + last : config.stride, j : j + last : config.stride]
        for i in range(config.patch)
        for j in range(config.patch)
    ]
    cut = np.moveaxis(np.stack(pixels, axis=-1), 1, -1)
    return cut.reshape(len(images), config.tokens, -1)


def make_logits(config: Config) -> Callable[..., Any]:
    """`logits(params, images)`."""

    def logits(params: Tree, images: Any) -> Any:
        x = transformer.dense(params["embed"], patches(images, config)) + params["position"]
        for p in params["blocks"]:
            x = transformer.block(p, x, config.heads, mask=None, form=config.gelu)
        x = np.mean(transformer.layer_norm(params["norm"], x), axis=1)
        return transformer.dense(params["head"], x)

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
