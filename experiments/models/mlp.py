"""A multi-layer perceptron that classifies."""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the perceptron.

    Attributes:
        features: numbers per example.
        hidden: width of each hidden layer.
        classes: number of classes.
        activation: between layers.
    """

    model: Literal["mlp"] = "mlp"
    features: PositiveInt = 64
    hidden: list[PositiveInt] = Field(default=[64, 64, 64, 64], min_length=1)
    classes: PositiveInt = 10
    activation: Literal["tanh", "relu"] = "tanh"
    batch: PositiveInt = 256


def parameters(config: Config) -> Tree:
    """A weight and a bias per layer."""
    widths = [config.features, *config.hidden, config.classes]
    gain = 2.0 if config.activation == "relu" else 1.0
    return [
        {"w": Parameter((n_in, n_out), (gain / n_in) ** 0.5), "b": Parameter((n_out,))}
        for n_in, n_out in itertools.pairwise(widths)
    ]


def inputs(config: Config) -> tuple[Input, ...]:
    """Examples and labels."""
    return (
        Input((config.batch, config.features)),
        Input((config.batch,), below=config.classes),
    )


def make_logits(config: Config) -> Callable[..., Any]:
    """`logits(params, x)`."""

    def logits(params: Tree, x: Any) -> Any:
        for layer in params[:-1]:
            x = x @ layer["w"] + layer["b"]
            x = np.tanh(x) if config.activation == "tanh" else np.maximum(x, 0)
        return x @ params[-1]["w"] + params[-1]["b"]

    return logits


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, x, labels)`: mean cross-entropy."""
    logits = make_logits(config)

    def loss(params: Tree, x: Any, labels: Any) -> Any:
        return cross_entropy(logits(params, x), labels)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss, make_logits)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
