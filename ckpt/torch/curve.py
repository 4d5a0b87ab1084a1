"""Memory against time for one training step: our plans, and what others do, on one curve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.choice import Budget, Decision, Limits, format_bytes, format_seconds
from ckpt.choice import frontier as frontier_of
from ckpt.cost.device import Device
from ckpt.errors import CkptError
from ckpt.torch.asking import problem_of
from ckpt.torch.builtin import built_in_order, per_block_order
from ckpt.torch.copies import without_dead_events
from ckpt.torch.forecast import joint_of
from ckpt.torch.price import Objective
from ckpt.torch.priced import Priced, priced
from ckpt.torch.wishes import Backend, Wishes

FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Budgets of PyTorch that are marked on the curve."""


@dataclass(frozen=True, slots=True)
class Point:
    """One way to run the step.

    Attributes:
        name: "planned", "PyTorch 0.5" or "every block".
        cost: what it takes.
        bound_seconds: no plan of this peak takes less; None where that was not asked.
    """

    name: str
    cost: Priced
    bound_seconds: float | None = None


@dataclass(frozen=True)
class Frontier:
    """The curve of a model.

    Attributes:
        points: ours from the largest peak to the smallest, then the others.
        forward_flops: of the forward half, to which recomputed flops are compared.
        baseline_seconds: predicted, of everything once.
    """

    points: tuple[Point, ...]
    forward_flops: int
    baseline_seconds: float

    def __str__(self) -> str:
        """The curve as a table."""
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        grid.add_column("way", no_wrap=True)
        for name in ("peak", "saved", "seconds", "overhead %", "at least %", "again flops %"):
            grid.add_column(name, justify="right", no_wrap=True)
        for point in self.points:
            cost = point.cost
            sizes = format_bytes(cost.peak_bytes), format_bytes(cost.saved_bytes)
            again = 100 * cost.recomputed_flops / max(self.forward_flops, 1)
            bound = point.bound_seconds
            grid.add_row(
                point.name,
                *sizes,
                format_seconds(cost.seconds),
                f"{self._beyond(cost.seconds):.2f}",
                "" if bound is None else f"{self._beyond(bound):.2f}",
                f"{again:.2f}",
            )
        out = StringIO()
        Console(file=out, width=120, color_system=None).print(grid)
        return "\n".join(line.rstrip() for line in out.getvalue().rstrip().split("\n"))

    def _beyond(self, seconds: float) -> float:
        """Percent beyond the baseline."""
        return max(0.0, 100 * (seconds / self.baseline_seconds - 1))

    def draw(self, path: str | Path) -> None:
        """Draw the curve; needs the extra `plots`.

        Raises:
            CkptError: matplotlib is missing.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise CkptError(
                "drawing needs matplotlib: pip install 'ckpt-compiler[plots]'"
            ) from error
        figure: Any = Figure(figsize=(7, 4.5), layout="constrained")
        axes: Any = figure.subplots()
        for name, marker in (("planned", "o-"), ("PyTorch", "x"), ("every block", "s")):
            group = [p for p in self.points if p.name.startswith(name)]
            x = [p.cost.peak_bytes / 2**30 for p in group]
            y = [self._beyond(p.cost.seconds) for p in group]
            axes.plot(x, y, marker, label=name)
        axes.set(xlabel="peak, GiB", ylabel="predicted seconds beyond no recomputation, %")
        axes.legend()
        figure.savefig(path)


def frontier(
    model: Callable[..., Any],
    example_inputs: Sequence[Any] | Mapping[str, Any],
    *,
    points: int = 8,
    fractions: Sequence[float] = FRACTIONS,
    backend: Backend = "inductor",
    device: Device | str | None = None,
    objective: Objective = "seconds",
    limits: Limits | None = None,
) -> Frontier:
    """Plan a training step at a range of budgets, and mark on the curve what others would do.

    Nothing is allocated. PyTorch's own budgets (`activation_memory_budget`, its dp solver) and
    checkpointing every block are priced by the same referee on the same joint graph: by their peak
    if every operation ran in the order of the halves.

    Args:
        model: a module, or a function of tensors.
        example_inputs: its positional arguments, or a dictionary of keyword arguments.
        points: how many budgets, between the smallest peak that is known and saving everything.
        fractions: PyTorch's budgets to mark.
        backend: whose operations to plan.
        device: whose costs to plan with, or its name; by default this processor.
        objective: "seconds", or "flops" alone.
        limits: how hard to search, for all budgets together.

    Raises:
        TraceError: the model is not one graph, or nothing in it needs a gradient; or an argument
            is not known.
    """
    wishes = Wishes.of(model, backend, device=device, objective=objective, limits=limits)
    joint = joint_of(model, example_inputs, wishes.prices, backend)
    tape = joint.tape
    everything = priced(tape, [run.name for run in tape.runs])
    others = [Point(f"PyTorch {f}", priced(tape, built_in_order(joint, f))) for f in fractions]
    blocks = per_block_order(tape)
    others.append(Point("every block", priced(tape, blocks)))
    least = min(p.cost.peak_bytes for p in others)
    problem = problem_of(tape)
    shares = [i / max(points - 1, 1) for i in range(points)]
    caps = [round(everything.peak_bytes - s * (everything.peak_bytes - least)) for s in shares]
    found = frontier_of(problem, [Budget(bytes=cap) for cap in caps], limits=limits)
    ours = [
        Point(
            "planned",
            priced(tape, without_dead_events(tape, [str(name) for name in one.runs])),
            one.bound_seconds,
        )
        for one in found
        if isinstance(one, Decision)
    ]
    return Frontier((*ours, *others), tape.forward_flops, everything.seconds)
