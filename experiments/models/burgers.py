"""Viscous Burgers in two dimensions, stepped explicitly in time: one loop, however many steps.

The loss compares the final state with a measured one; its gradient with respect to the initial
state is what recovering the initial state needs.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

import ckpt
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the grid and of the time steps.

    Attributes:
        size: cells along each of the two axes; the domain closes on itself.
        steps: time steps.
        advection: time step over cell size; speeds are about one.
        diffusion: viscosity times time step over cell size squared; stable up to 1/4.
    """

    model: Literal["burgers"] = "burgers"
    size: PositiveInt = 16
    steps: PositiveInt = 6
    advection: float = Field(default=0.2, gt=0, le=1.0)
    diffusion: float = Field(default=0.1, gt=0, le=0.25)


def parameters(config: Config) -> Tree:
    """The unknown initial velocities."""
    shape = (config.size, config.size)
    return {"u": Parameter(shape, 0.5), "v": Parameter(shape, 0.5)}


def inputs(config: Config) -> tuple[Input, ...]:
    """The velocities measured at the end."""
    shape = (config.size, config.size)
    return Input(shape), Input(shape)


def wrapped(x: Any) -> Any:
    """The field with a cell more on every side, taken from the opposite one."""
    return np.pad(x, 1, mode="wrap")


def neighbours(x: Any) -> tuple[Any, Any, Any, Any]:
    """North, south, west and east of every cell of a field with a rim."""
    return x[:-2, 1:-1], x[2:, 1:-1], x[1:-1, :-2], x[1:-1, 2:]


def step(
    u: Any, v: Any, advection: float, diffusion: float, wrap: Callable[[Any], Any] = wrapped
) -> tuple[Any, Any]:
    """One time step: central differences in space."""
    fresh: list[Any] = []
    for x in (u, v):
        north, south, west, east = neighbours(wrap(x))
        carried = u * (south - north) + v * (east - west)
        spread = north + south + west + east - 4.0 * x
        fresh.append(x - (0.5 * advection) * carried + diffusion * spread)
    return fresh[0], fresh[1]


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(initial, u, v)`: half the mean squared error of the final velocities."""

    def loss(initial: Tree, u_measured: Any, v_measured: Any) -> Any:
        def body(carry: Any, _: Any) -> Any:
            return step(*carry, config.advection, config.diffusion), None

        (u, v), _ = ckpt.scan(body, (initial["u"], initial["v"]), length=config.steps)
        return 0.5 * np.mean((u - u_measured) ** 2 + (v - v_measured) ** 2)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
