"""The marginal likelihood of a Gaussian process with a squared-exponential kernel."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

import ckpt.numpy as cnp
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the regression.

    Attributes:
        features: numbers per example.
        batch: examples, all of which the likelihood couples.
    """

    model: Literal["gaussian_process"] = "gaussian_process"
    features: PositiveInt = 3
    batch: PositiveInt = 16


def parameters(config: Config) -> Tree:
    """Logarithms of the length scales, of the variance of the signal and of that of the noise."""
    return {
        "scales": Parameter((config.features,), mean=math.log(2.0)),
        "signal": Parameter(()),
        "noise": Parameter((), mean=math.log(0.1)),
    }


def inputs(config: Config) -> tuple[Input, ...]:
    """Examples and what was measured there."""
    return Input((config.batch, config.features)), Input((config.batch,))


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, x, y)`: the negative logarithm of the marginal likelihood, per example.

    Source: Carl Edward Rasmussen, Christopher Williams. Gaussian Processes for Machine Learning.
    2006 (algorithm 2.1).
    """
    n = config.batch

    def loss(params: Tree, x: Any, y: Any) -> Any:
        z = x / np.exp(params["scales"])
        norms = np.sum(z * z, axis=1)
        squares = np.maximum(norms[:, None] + norms - 2.0 * (z @ z.T), 0.0)
        noise = np.exp(params["noise"]) * np.eye(n, dtype=config.dtype)
        factor = np.linalg.cholesky(np.exp(params["signal"] - 0.5 * squares) + noise)
        fit = 0.5 * np.dot(y, cnp.cho_solve(factor, y))
        volume = np.sum(np.log(np.diagonal(factor)))
        return (fit + volume) / n + 0.5 * math.log(2.0 * math.pi)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
