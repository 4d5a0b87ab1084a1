"""A long short-term memory cell over the steps of a sequence, which it classifies.

The steps are one loop, or unrolled.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

import ckpt
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the cell and of the sequence.

    Attributes:
        features: numbers per step of the sequence.
        hidden: width of the state.
        steps: length of the sequence.
        classes: number of classes.
        loop: whether the steps are a `ckpt.scan`; else each is traced.
    """

    model: Literal["lstm"] = "lstm"
    features: PositiveInt = 8
    hidden: PositiveInt = 16
    steps: PositiveInt = 4
    classes: PositiveInt = 10
    loop: bool = True
    batch: PositiveInt = 16


def parameters(config: Config) -> Tree:
    """All four gates in one matrix each for the input and for the state."""
    n_in, n = config.features, config.hidden
    return {
        "input": Parameter((n_in, 4 * n), n_in**-0.5),
        "state": Parameter((n, 4 * n), n**-0.5),
        "bias": Parameter((4 * n,)),
        "head": {
            "w": Parameter((n, config.classes), n**-0.5),
            "b": Parameter((config.classes,)),
        },
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Sequences (step, batch, feature) and labels."""
    return (
        Input((config.steps, config.batch, config.features)),
        Input((config.batch,), below=config.classes),
    )


def sigmoid(x: Any) -> Any:
    """The logistic function, by tanh: it does not overflow."""
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def cell(params: Tree, hidden: Any, memory: Any, x: Any) -> tuple[Any, Any]:
    """One step: the next hidden state and the next memory."""
    gates = x @ params["input"] + hidden @ params["state"] + params["bias"]
    into, forget, candidate, out = np.split(gates, 4, axis=-1)
    # + 1: a new cell remembers (Jozefowicz et al., 2015)
    memory = sigmoid(forget + 1.0) * memory + sigmoid(into) * np.tanh(candidate)
    return sigmoid(out) * np.tanh(memory), memory


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, sequences, labels)`: cross-entropy after the last step."""

    def loss(params: Tree, sequences: Any, labels: Any) -> Any:
        hidden = memory = np.zeros((config.batch, config.hidden), config.dtype)
        if config.loop:

            def body(carry: Any, x: Any) -> Any:
                return cell(params, *carry, x), None

            (hidden, memory), _ = ckpt.scan(body, (hidden, memory), sequences)
        else:
            for step in range(config.steps):
                hidden, memory = cell(params, hidden, memory, sequences[step])
        return cross_entropy(hidden @ params["head"]["w"] + params["head"]["b"], labels)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
