"""Where the batches of a training come from, and how what was learned is tested.

digits   the real handwritten digits of `experiments.data`, classified
random   one random batch over and over: for measuring, not for learning
text     characters of a real text, each predicted from those before it
shapes   generated images of discs and boxes in noise, every pixel classified
heat     a hidden temperature, to be found from what is measured after some time
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from experiments.data import Array, DataError, digits
from experiments.models.heat import make_evolution
from experiments.models.registry import MODELS
from experiments.shapes import BACKGROUND, draw_shapes
from experiments.text import deal_windows, encode, real_text

Tree = Any

HELD_OUT = frozenset({"digits", "shapes"})
"""Data of which some is kept for testing."""

_HELD_OUT_SEED = 1_000_003
"""Images that are tested on come from another seed than any that is trained on."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What a model is trained and tested on.

    Attributes:
        batches: inputs of the loss after the parameters, without end.
        accuracy: of parameters on what was held out, as a fraction; None where nothing was.
    """

    batches: Iterator[tuple[Array, ...]]
    accuracy: Callable[[Tree], float] | None = None


def supply_of(data: str, config: Any, seed: int) -> Supply:
    """The data of a name, in the shapes that a model takes.

    Args:
        data: one of the names above.
        config: of the model.
        seed: of what is drawn, and of the order of examples.

    Raises:
        DataError: they do not go with the model, or cannot be had.
    """
    return _SUPPLIES[data](config, seed)


def _random(config: Any, seed: int) -> Supply:
    return Supply(repeat(MODELS[config.model].batch(config, seed)))


def _digits(config: Any, seed: int) -> Supply:
    model = MODELS[config.model]
    if model.make_logits is None or len(model.inputs(config)[1].shape) != 1:
        raise DataError(f"the model {config.model!r} does not classify images: use data: random")
    shape = model.inputs(config)[0].shape[1:]
    train, test = (part.shaped(shape, config.dtype) for part in digits())
    if config.classes <= train.labels.max():
        raise DataError(f"classes is {config.classes}; there are ten digits")
    return Supply(train.deal(config.batch, seed), _tester(config, test.images, test.labels))


def _text(config: Any, seed: int) -> Supply:
    if config.model != "gpt" or config.dropout:
        raise DataError("text is for the model 'gpt' without dropout")
    codes, letters = encode(real_text())
    if config.vocabulary < len(letters):
        raise DataError(
            f"vocabulary is {config.vocabulary}; the text has {len(letters)} different characters"
        )
    return Supply(deal_windows(codes, config.batch, config.context, seed))


def _shapes(config: Any, seed: int) -> Supply:
    if config.model != "unet" or config.channels != 1:
        raise DataError("shapes are for the model 'unet' with one channel")
    if config.classes <= BACKGROUND + 2:
        raise DataError(f"classes is {config.classes}; pixels are background, disc or box")

    def batches() -> Iterator[tuple[Array, ...]]:
        random = np.random.default_rng(seed)
        while True:
            yield draw_shapes(random, config.batch, config.size, config.dtype)

    held_out = draw_shapes(np.random.default_rng(_HELD_OUT_SEED), 32, config.size, config.dtype)
    return Supply(batches(), _tester(config, *held_out))


def _heat(config: Any, seed: int) -> Supply:
    if config.model != "heat":
        raise DataError("heat is for the model 'heat'")
    random = np.random.default_rng(seed)
    ways = np.linspace(0, 2 * np.pi, config.size, endpoint=False)
    down, across = np.meshgrid(ways, ways, indexing="ij")
    phases = random.uniform(0, 2 * np.pi, (2, config.batch, 1, 1))
    hidden = np.sin(down + phases[0]) * np.cos(across + phases[1])
    measured = make_evolution(config)(hidden.astype(config.dtype))
    return Supply(repeat((np.asarray(measured, config.dtype),)))


def _tester(config: Any, images: Array, labels: Array) -> Callable[[Tree], float]:
    """Fraction of labels that are met; plain NumPy, nothing compiled."""
    make_logits = MODELS[config.model].make_logits
    assert make_logits is not None
    logits = make_logits(config)

    def accuracy(params: Tree) -> float:
        return float(np.mean(np.argmax(logits(params, images), axis=-1) == labels))

    return accuracy


_SUPPLIES: dict[str, Callable[[Any, int], Supply]] = {
    "digits": _digits,
    "random": _random,
    "text": _text,
    "shapes": _shapes,
    "heat": _heat,
}
