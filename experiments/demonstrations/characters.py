"""An LSTM reads a thousand characters at a stretch: the same training in whatever memory there is.

    python -m experiments.demonstrations.characters [--picture characters.png]

The loop over the characters gives a score after each of them; errors run back through all thousand
steps. The network is trained once per budget, from the same weights on the same windows of a real
text. The curves of the loss lie on each other, to the last bit: a budget changes how often a step
is made again, never what comes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import optree
from pydantic import Field, PositiveInt

import ckpt
from ckpt.ops.loop_reverse import ScanReverse
from experiments.demonstrations.demonstration import (
    Config,
    DemonstrationError,
    command,
    progress,
    show,
)
from experiments.models import lstm
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Tree
from experiments.optimizers import Adam
from experiments.text import deal_windows, encode, real_text
from experiments.training import make_training_step
from policies.units import format_bytes, format_seconds

Array = np.ndarray[Any, Any]


class Characters(Config):
    """Sizes.

    Attributes:
        hidden: width of the state.
        length: characters of a window.
        batch: windows of a step.
        steps: of training.
        rate: of Adam.
        budgets: on everything alive, one after another; 1.0x is what saves everything.
    """

    hidden: PositiveInt = 96
    length: PositiveInt = 1000
    batch: PositiveInt = 16
    steps: PositiveInt = 40
    rate: float = Field(default=0.01, gt=0)
    budgets: tuple[str, ...] = Field(default=("1.0x", "0.25x"), min_length=2)


@dataclass(slots=True)
class Training:
    """One training.

    Attributes:
        budget: on everything alive.
        peak_bytes: of a gradient, as planned.
        slots: states that are kept.
        again: steps that one gradient makes once more.
        seconds: of a gradient, the median.
        losses: in nats per character.
    """

    budget: str
    peak_bytes: int = 0
    slots: int = 0
    again: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list[float])


def network(config: Characters, letters: int) -> tuple[Tree, Callable[..., Any]]:
    """First weights, and `loss(params, read, follows)`: nats per character."""
    sizes = lstm.Config(
        features=letters,
        hidden=config.hidden,
        steps=config.length,
        classes=letters,
        batch=config.batch,
    )
    every = np.arange(letters, dtype=np.int32)

    def loss(params: Tree, read: Any, follows: Any) -> Any:
        def body(carry: Any, codes: Any) -> Any:
            here, after = codes
            one_hot = (here[:, None] == every).astype(np.float32)
            hidden, memory = lstm.cell(params, *carry, one_hot)
            scores = hidden @ params["head"]["w"] + params["head"]["b"]
            return (hidden, memory), cross_entropy(scores, after)

        start = np.zeros((config.batch, config.hidden), np.float32)
        _, nats = ckpt.scan(body, (start, start), (read, follows))
        return np.mean(nats)

    return lstm.MODEL.init(sizes, config.seed), loss


def windows(config: Characters) -> tuple[list[tuple[Array, Array]], int]:
    """What is read and what follows, i32[length,batch] each, per step; and how many letters."""
    codes, letters = encode(real_text())
    dealt = islice(deal_windows(codes, config.batch, config.length, config.seed), config.steps)
    return [(read.T.copy(), follows.T.copy()) for read, follows in dealt], len(letters)


def train(config: Characters) -> list[Training]:
    """Train once per budget.

    Raises:
        DataError: scikit-learn, which has the text, is not installed.
        DemonstrationError: two budgets gave other weights.
    """
    batches, letters = windows(config)
    first, loss = network(config, letters)
    adam = Adam(rate=config.rate)
    found: list[Training] = []
    weights: list[list[bytes]] = []
    for budget in config.budgets:
        step = ckpt.compile(make_training_step(loss, adam), budget=budget)
        params, state = first, adam.init(first)
        args = (params, state, *batches[0])
        done = Training(budget, peak_bytes=step.plan_for(*args).peak_bytes)
        took: list[float] = []
        with progress(f"budget {budget}", config.steps) as advance:
            for batch in batches:
                began = perf_counter()
                value, params, state = step(params, state, *batch)
                took.append(perf_counter() - began)
                done.losses.append(float(value))
                advance(f"{done.losses[-1]:.3f} nats")
        made = step.executable_for(*args)
        # without a way back of its own, the loop keeps what every step leaves behind
        done.slots = config.length
        for op in (e.op for e in made.program.eqns if isinstance(e.op, ScanReverse)):
            done.slots, done.again = op.slots, made.runs_of(op.advance) // made.stats.steps
        done.seconds = median(took)
        found.append(done)
        weights.append([x.tobytes() for x in optree.tree_leaves(params)])
        if weights[-1] != weights[0] or done.losses != found[0].losses:
            raise DemonstrationError(f"{budget} gives other weights than {found[0].budget}")
    return found


def draw(found: list[Training], path: Path) -> None:
    """The loss in every budget, one curve on the other."""
    from ckpt.inspect.figure import COLOURS, new_figure, save

    figure, axes = new_figure(7.0, 3.2)
    for k, (done, colour) in enumerate(zip(found, COLOURS, strict=False)):
        width = 2.0 + 3.0 * (len(found) - 1 - k)
        label = f"{format_bytes(done.peak_bytes)}, {done.slots} slots"
        axes.plot(done.losses, color=colour, linewidth=width, label=label)
    axes.set_xlabel("steps of training")
    axes.set_ylabel("nats per character")
    axes.legend(frameon=False)
    save(figure, path)


def report(config: Characters) -> Callable[[Path], None]:
    """Print the table."""
    found = train(config)
    columns = ["budget", "planned", "slots", "steps again", "per step", "first loss", "last loss"]
    rows = [
        [
            done.budget,
            format_bytes(done.peak_bytes),
            str(done.slots),
            str(done.again),
            format_seconds(done.seconds),
            f"{done.losses[0]:.6f}",
            f"{done.losses[-1]:.6f}",
        ]
        for done in found
    ]
    title = f"{config.length} characters, {config.steps} steps of training: the same bits"
    show(title, columns, rows)
    return lambda path: draw(found, path)


if __name__ == "__main__":
    command("characters", __doc__ or "", Characters, report)
