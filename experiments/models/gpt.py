"""A GPT: learned positions, blocks with layer normalisation first, causal attention, next token.

The shapes follow Radford et al. (2019); `configs/models/gpt2_124m.yaml` is its smallest model.
"""

import itertools
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

import ckpt.numpy as cnp
from experiments.models import transformer
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Input, Model, ModelConfig, Parameter, Tree


class Config(ModelConfig):
    """Sizes of the transformer.

    Attributes:
        vocabulary: number of tokens.
        context: tokens per sequence.
        width: of the residual stream; the perceptrons are four times as wide.
        layers: number of blocks.
        heads: of the attention; divides the width.
        tied_head: the output uses the token embedding again, instead of a matrix of its own.
        gelu: the exact form or its approximation by tanh.
        dropout: probability that an element added to the residual stream is set to zero; above
            zero the loss takes the seed of the masks as its last argument.
    """

    model: Literal["gpt"] = "gpt"
    vocabulary: PositiveInt = 64
    context: PositiveInt = 16
    width: PositiveInt = 32
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    tied_head: bool = True
    gelu: transformer.Gelu = "tanh"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    batch: PositiveInt = 4

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} does not divide width {self.width}")
        return self


def parameters(config: Config) -> Tree:
    """Embeddings, blocks, final norm, and the head unless it is tied."""
    width, std = config.width, 0.02
    residual_std = std * (2 * config.layers) ** -0.5
    params = {
        "token": Parameter((config.vocabulary, width), std),
        "position": Parameter((config.context, width), std),
        "blocks": [
            transformer.block_parameters(width, 4 * width, std, residual_std)
            for _ in range(config.layers)
        ],
        "norm": transformer.norm_parameters(width),
    }
    return params if config.tied_head else params | {"head": Parameter(params["token"].shape, std)}


def inputs(config: Config) -> tuple[Input, ...]:
    """Tokens, the tokens that follow them, and with dropout the seed of its masks."""
    tokens = Input((config.batch, config.context), below=config.vocabulary)
    seed = (Input((), below=2**31),) if config.dropout else ()
    return (tokens, tokens, *seed)


def dropout(rate: float, seed: Any) -> transformer.Drop:
    """Dropout with another mask at every site, all from one seed."""
    key, sites = cnp.random.key(seed), itertools.count()
    return lambda x: cnp.random.dropout(cnp.random.fold_in(key, next(sites)), x, rate)


def make_loss(config: Config) -> Callable[..., Any]:
    """`loss(params, tokens, targets)`, with a seed at the end where there is dropout.

    It is the mean cross-entropy of the next token.
    """
    may_see = np.tril(np.ones((config.context, config.context), bool))

    def loss(params: Tree, tokens: Any, targets: Any, *seed: Any) -> Any:
        drop = dropout(config.dropout, *seed) if config.dropout else transformer.keep
        x = drop(params["token"][tokens] + params["position"])
        for p in params["blocks"]:
            x = transformer.block(p, x, config.heads, mask=may_see, form=config.gelu, drop=drop)
        head = params["token"] if config.tied_head else params["head"]
        return cross_entropy(transformer.layer_norm(params["norm"], x) @ head.T, targets)

    return loss


MODEL = Model(Config, parameters, inputs, make_loss)
loss = make_loss(Config())


def example_inputs() -> tuple[Tree, ...]:
    """Specs of the arguments of `loss`."""
    return MODEL.specs(Config())
