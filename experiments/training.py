"""A training step as one program: gradient and optimizer, under one budget."""

from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

import ckpt
from experiments.optimizers import Adam, Sgd

Tree = Any


def make_training_step(
    loss: Callable[..., Any], optimizer: Adam | Sgd
) -> Callable[..., tuple[Any, Tree, Tree]]:
    """`training_step(params, state, *batch) -> (loss, params, state)`, for `ckpt.compile`."""
    gradient = ckpt.value_and_grad(loss)

    def training_step(params: Tree, state: Tree, *batch: Any) -> tuple[Any, Tree, Tree]:
        value, grads = gradient(params, *batch)
        params, state = optimizer.update(grads, state, params)
        return value, params, state

    return training_step


def late_loss(losses: Sequence[float]) -> float:
    """The mean of the last tenth of a loss curve, which no single batch decides.

    >>> late_loss([9.0] * 18 + [1.0, 3.0])
    2.0
    """
    return mean(losses[-max(1, len(losses) // 10) :])
