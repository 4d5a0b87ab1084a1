"""What every model has: shapes first, so that it can be planned without allocating an array."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import optree
from pydantic import BaseModel, ConfigDict, PositiveInt

from ckpt import Spec

Array = np.ndarray[Any, Any]
Tree = Any
"""A pytree: nested dicts, lists and tuples of leaves."""


class ModelConfig(BaseModel):
    """What the sizes of every model have in common.

    Attributes:
        batch: examples per step.
        dtype: of parameters and floating-point inputs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: PositiveInt = 1
    dtype: Literal["float32", "float64"] = "float32"


C = TypeVar("C", bound=ModelConfig)


@dataclass(frozen=True, slots=True)
class Parameter:
    """Shape of a parameter, and the normal distribution that its first values are drawn from."""

    shape: tuple[int, ...]
    std: float = 0.0
    mean: float = 0.0

    def draw(self, random: np.random.Generator, dtype: str) -> Array:
        """First values; without spread they are the mean itself."""
        if self.std == 0:
            return np.full(self.shape, self.mean, dtype)
        return np.asarray(random.normal(self.mean, self.std, self.shape), dtype)


@dataclass(frozen=True, slots=True)
class Input:
    """Shape of an input of the loss, and how to draw a random one.

    Attributes:
        shape: its shape.
        below: for integers, their exclusive upper bound; None for standard normal floats.
    """

    shape: tuple[int, ...]
    below: int | None = None

    def dtype(self, floats: str) -> str:
        """The NumPy name of its dtype, where the model's floats are of the given one."""
        return floats if self.below is None else "int32"

    def draw(self, random: np.random.Generator, floats: str) -> Array:
        """Random values."""
        if self.below is None:
            return np.asarray(random.normal(size=self.shape), floats)
        return np.asarray(random.integers(0, self.below, self.shape), self.dtype(floats))


@dataclass(frozen=True, slots=True)
class Model(Generic[C]):
    """A model: functions of its configuration.

    Attributes:
        config: the class of its configuration; `config()` is a size that runs in a blink.
        parameters: configuration to a pytree of `Parameter`.
        inputs: configuration to the inputs of the loss after the parameters.
        make_loss: configuration to `loss(params, *inputs) -> scalar`.
        make_logits: configuration to `logits(params, images) -> [n, ..., classes]`; None for what
            does not classify images or their pixels.
    """

    config: type[C]
    parameters: Callable[[C], Tree]
    inputs: Callable[[C], tuple[Input, ...]]
    make_loss: Callable[[C], Callable[..., Any]]
    make_logits: Callable[[C], Callable[..., Any]] | None = None

    def init(self, config: C, seed: int) -> Tree:
        """First parameters; the same for the same seed."""
        random = np.random.default_rng(seed)
        return optree.tree_map(lambda p: p.draw(random, config.dtype), self.parameters(config))

    def batch(self, config: C, seed: int) -> tuple[Array, ...]:
        """Random inputs of the loss; the same for the same seed."""
        random = np.random.default_rng(seed)
        return tuple(i.draw(random, config.dtype) for i in self.inputs(config))

    def specs(self, config: C) -> tuple[Tree, ...]:
        """Shapes and dtypes of all arguments of the loss; no array is allocated."""
        params = optree.tree_map(lambda p: Spec(p.shape, config.dtype), self.parameters(config))
        batch = (Spec(i.shape, i.dtype(config.dtype)) for i in self.inputs(config))
        return (params, *batch)
