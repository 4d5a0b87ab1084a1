"""Optimizers in NumPy, to be traced into the program of a training step."""

from typing import Annotated, Any, Literal

import numpy as np
import optree
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Tree = Any


class Sgd(BaseModel):
    """Gradient descent with momentum.

    Attributes:
        rate: learning rate.
        momentum: how much of the last update is kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["sgd"] = "sgd"
    rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)

    def init(self, params: Tree) -> Tree:
        """State before the first step."""
        return optree.tree_map(np.zeros_like, params)

    def update(self, grads: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree]:
        """Parameters and state after a step."""
        state = optree.tree_map(lambda v, g: self.momentum * v + g, state, grads)
        return optree.tree_map(lambda p, v: p - self.rate * v, params, state), state


class Adam(BaseModel):
    """Adam (Kingma and Ba, 2015), with weights that decay apart from the gradient.

    Attributes:
        rate: learning rate.
        beta1: how much of the mean of gradients is kept.
        beta2: how much of the mean of their squares is kept.
        epsilon: keeps the division away from zero.
        decay: weight decay per unit of learning rate (Loshchilov and Hutter, 2019).
        anneal: number of steps over which the rate falls to zero, evenly; None for never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["adam"] = "adam"
    rate: float = Field(default=1e-3, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    decay: float = Field(default=0.0, ge=0)
    anneal: PositiveInt | None = None

    def init(self, params: Tree) -> Tree:
        """State before the first step: means of gradients and of their squares, and a count."""
        floats = optree.tree_leaves(params)[0].dtype
        return {
            "mean": optree.tree_map(np.zeros_like, params),
            "square": optree.tree_map(np.zeros_like, params),
            "steps": np.zeros((), floats),
        }

    def update(self, grads: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree]:
        """Parameters and state after a step."""
        rate: Any = self.rate
        if self.anneal is not None:
            rate = rate * np.maximum(1.0 - state["steps"] / self.anneal, 0.0)
        steps = state["steps"] + 1.0
        mean = optree.tree_map(
            lambda m, g: self.beta1 * m + (1.0 - self.beta1) * g, state["mean"], grads
        )
        square = optree.tree_map(
            lambda s, g: self.beta2 * s + (1.0 - self.beta2) * (g * g), state["square"], grads
        )
        # both means start at zero: what they lack is the same factor everywhere
        mean_lack, square_lack = 1.0 - self.beta1**steps, 1.0 - self.beta2**steps
        ahead = rate * np.sqrt(square_lack) / mean_lack
        kept = 1.0 - rate * self.decay

        def moved(p: Any, m: Any, s: Any) -> Any:
            return kept * p - ahead * m / (np.sqrt(s) + self.epsilon)

        params = optree.tree_map(moved, params, mean, square)
        return params, {"mean": mean, "square": square, "steps": steps}


Optimizer = Annotated[Adam | Sgd, Field(discriminator="name")]
