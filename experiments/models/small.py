"""Hundreds of operations on a handful of numbers: what a call costs, and not what it computes."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the program.

    Attributes:
        width: numbers in every array.
        turns: how often five operations are repeated.
    """

    model: Literal["small"] = "small"
    width: PositiveInt = 8
    turns: PositiveInt = 4


def parameters(config: Config) -> Tree:
    """A factor and a shift per number."""
    return {
        "factor": Parameter((config.width,), mean=0.9),
        "shift": Parameter((config.width,), 0.1),
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Where the numbers start, for every example."""
    return (Input((config.batch, config.width)),)


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, x)`: how far the numbers are from zero after all turns."""

    def loss(params: Tree, x: Any) -> Any:
        for _ in range(config.turns):
            y = np.tanh(x * params["factor"] + params["shift"])
            x = x - 0.5 * y
        return np.sum(x * x)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
