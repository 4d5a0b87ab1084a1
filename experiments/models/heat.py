"""The heat equation with conductivity that depends on temperature, stepped explicitly in time.

The loss compares the final state with a measured one; its gradient with respect to the initial
state is what an inverse problem needs. Conductivity k(u) = 1 + nonlinearity * u**2 makes the
problem one that has something to save: of a linear equation the reverse pass needs no state.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the grid and of the time steps.

    Attributes:
        size: cells along each of the two axes.
        steps: time steps.
        rate: time step over cell size squared; the explicit scheme is stable up to 1/4.
        nonlinearity: how much conductivity grows with the temperature squared.
        boundary: "periodic", or "fixed" at temperature zero.
        batch: independent plates.
    """

    model: Literal["heat"] = "heat"
    size: PositiveInt = 16
    steps: PositiveInt = 6
    rate: float = Field(default=0.05, gt=0, le=0.25)
    nonlinearity: NonNegativeFloat = 0.5
    boundary: Literal["periodic", "fixed"] = "periodic"
    batch: PositiveInt = 2


def parameters(config: Config) -> Tree:
    """The unknown initial temperature."""
    return Parameter((config.batch, config.size, config.size), 0.5)


def inputs(config: Config) -> tuple[Input, ...]:
    """The temperature measured at the end."""
    return (Input((config.batch, config.size, config.size)),)


def periodic_flow(u: Any, k: Any, axis: int) -> Any:
    """Net heat into every cell along an axis that closes on itself."""
    right = np.roll(u, -1, axis)
    face = 0.5 * (k + np.roll(k, -1, axis)) * (right - u)
    return face - np.roll(face, 1, axis)


def fixed_flow(u: Any, k: Any, axis: int) -> Any:
    """Net heat into every cell along an axis whose ends are held at temperature zero."""
    widths = [(0, 0)] * 3
    widths[axis] = (1, 1)
    u, k = np.pad(u, widths), np.pad(k, widths, constant_values=1)
    inner = (slice(None),) * axis
    left, right = (*inner, slice(None, -1)), (*inner, slice(1, None))
    face = 0.5 * (k[left] + k[right]) * (u[right] - u[left])
    return face[right] - face[left]


def make_evolution(config: Config) -> Callable[[Any], Any]:
    """`evolution(initial)`: the state after all time steps."""
    flow = periodic_flow if config.boundary == "periodic" else fixed_flow

    def evolution(initial: Any) -> Any:
        u = initial
        for _ in range(config.steps):
            k = 1.0 + config.nonlinearity * u * u
            u = u + config.rate * (flow(u, k, 1) + flow(u, k, 2))
        return u

    return evolution


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(initial, measured)`: half the mean squared error of the final state."""
    evolution = make_evolution(config)

    def loss(initial: Any, measured: Any) -> Any:
        error = evolution(initial) - measured
        return 0.5 * np.mean(error * error)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
