"""A GPT whose blocks are one loop: planned at full size from shapes alone, never run.

    python -m experiments.demonstrations.deep_gpt [--picture deep_gpt.png]

The weights of all layers are stacked, and `ckpt.scan` goes over them: the program has one block,
however many layers there are. Each budget decides how many layers' inputs are kept and what a block
keeps of its own while it runs back. Drawn is memory against what is then run forward, in layers;
tracing comes first and once, and is timed apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import optree
from pydantic import Field

import ckpt
from ckpt import Budget, BudgetError, Device, Spec
from ckpt.api.planning import Options, plan_joint
from ckpt.ops.loop_reverse import ScanReverse
from experiments.demonstrations.demonstration import Config, command, progress, show
from experiments.models import gpt, transformer
from experiments.models.cross_entropy import cross_entropy
from experiments.models.model import Tree
from policies.units import format_bytes, format_seconds


class DeepGpt(Config):
    """Sizes.

    Attributes:
        network: its shapes; all layers are alike.
        device: what seconds are predicted for.
        shares: budgets, of the peak when every layer's input is kept.
    """

    network: gpt.Config = gpt.Config(layers=48)
    device: Device = Field(default_factory=Device.this)
    shares: tuple[float, ...] = Field(default=(0.9, 0.8, 0.7), min_length=1)


def specs(sizes: gpt.Config) -> tuple[Any, ...]:
    """Shapes of weights, tokens and what follows them; those of the blocks are stacked."""
    params = gpt.parameters(sizes)
    block = params["blocks"][0]
    stacked = {
        **optree.tree_map(lambda p: Spec(p.shape, sizes.dtype), params | {"blocks": None}),
        "blocks": optree.tree_map(lambda p: Spec((sizes.layers, *p.shape), sizes.dtype), block),
    }
    tokens = Spec((sizes.batch, sizes.context), np.int32)
    return stacked, tokens, tokens


def make_loss(sizes: gpt.Config) -> Callable[..., Any]:
    """`loss(params, tokens, targets)`: the mean cross-entropy of the next token."""
    may_see = np.tril(np.ones((sizes.context, sizes.context), bool))

    def loss(params: Tree, tokens: Any, targets: Any) -> Any:
        def body(x: Any, p: Tree) -> Any:
            return transformer.block(p, x, sizes.heads, mask=may_see, form=sizes.gelu), None

        x, _ = ckpt.scan(body, params["token"][tokens] + params["position"], params["blocks"])
        head = params["token"] if sizes.tied_head else params["head"]
        return cross_entropy(transformer.layer_norm(params["norm"], x) @ head.T, targets)

    return loss


@dataclass(frozen=True, slots=True)
class Point:
    """One budget.

    Attributes:
        budget_bytes: on everything alive; None for as much as is of use.
        peak_bytes: of the plan.
        beyond_bytes: of it, what is no input or output.
        slots: inputs of layers that are kept.
        again: layers run forward once more.
        seconds: of a step, predicted.
        planning_seconds: without tracing.
    """

    budget_bytes: int | None
    peak_bytes: int
    beyond_bytes: int
    slots: int
    again: int
    seconds: float
    planning_seconds: float


def frontier(config: DeepGpt) -> tuple[list[Point], float]:
    """A plan per budget that can be met, and the seconds of tracing and differentiating."""
    args, step = specs(config.network), ckpt.value_and_grad(make_loss(config.network))
    began = perf_counter()
    joint = step.joint_for(*args)
    tracing = perf_counter() - began
    traced = step.compiled_for(*args).traced

    def planned(budget: Budget) -> Point:
        told = Options(budget, "auto", config.device, limits=None, progress=None)
        began = perf_counter()
        made = plan_joint(traced, joint, told)
        seconds = perf_counter() - began
        # without a way back of its own, the loop keeps what every layer leaves behind, or a part
        slots, again = config.network.layers, 0
        for op in (e.op for e in made.joint.program.eqns if isinstance(e.op, ScanReverse)):
            slots, again = op.slots, op.again
        plan = made.plan
        return Point(
            budget.bytes,
            plan.peak_bytes,
            plan.beyond_inputs_bytes,
            slots,
            again,
            plan.seconds,
            seconds,
        )

    points = [planned(Budget())]
    with progress("planning", len(config.shares)) as advance:
        for share in config.shares:
            try:
                points.append(planned(Budget(bytes=int(share * points[0].peak_bytes))))
            except BudgetError:
                break  # less is not possible either
            advance(f"{share:g} of the peak")
    return points, tracing


def draw(points: list[Point], path: Path) -> None:
    """Seconds of a step against memory."""
    from ckpt.inspect.figure import COLOURS, new_figure, save, scale

    figure, axes = new_figure(6.5, 3.6)
    factor, unit = scale(points[0].peak_bytes)
    x = [p.peak_bytes / factor for p in points]
    axes.plot(x, [p.seconds for p in points], "o-", color=COLOURS[0])
    for p, at in zip(points, x, strict=True):
        axes.annotate(f" {p.slots}", (at, p.seconds), fontsize=8, va="bottom")
    axes.set_xlabel(f"everything alive, {unit}; numbers: inputs of layers that are kept")
    axes.set_ylabel("seconds of a step, predicted")
    save(figure, path)


def report(config: DeepGpt) -> Callable[[Path], None]:
    """Print the frontier."""
    points, tracing = frontier(config)
    rows = [
        [
            "any" if p.budget_bytes is None else format_bytes(p.budget_bytes),
            format_bytes(p.peak_bytes),
            format_bytes(p.beyond_bytes),
            str(p.slots),
            str(p.again),
            format_seconds(p.seconds),
            format_seconds(p.planning_seconds),
        ]
        for p in points
    ]
    columns = ["budget", "planned", "beyond inputs", "slots", "layers again", "step", "planning"]
    title = f"{config.network.layers} layers; traced and differentiated in {tracing:.2f} s"
    show(title, columns, rows)
    return lambda path: draw(points, path)


if __name__ == "__main__":
    command("deep_gpt", __doc__ or "", DeepGpt, report)
