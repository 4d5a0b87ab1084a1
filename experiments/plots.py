"""Pictures of a run. matplotlib is imported when one is drawn."""

from collections.abc import Sequence
from pathlib import Path

from ckpt import Plan
from ckpt.inspect import timeline
from ckpt.inspect.figure import COLOURS, new_figure, save


def draw_memory(plan: Plan, title: str, path: Path) -> None:
    """Memory over time with the largest values named, and the budget.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    save(timeline.draw(plan, title=title), path)


def draw_loss(losses: Sequence[float], title: str, path: Path) -> None:
    """The training loss at every step.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    figure, axes = new_figure(7.0, 4.0)
    axes.plot(range(1, len(losses) + 1), losses, color=COLOURS[0], linewidth=1.2)
    axes.set_xlim(1, max(len(losses), 2))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("training step")
    axes.set_ylabel("training loss, nats")
    axes.set_title(title, loc="left", fontsize=10)
    save(figure, path)
