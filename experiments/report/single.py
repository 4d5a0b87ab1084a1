"""Pictures of single points: memory over time, the solver's progress, the schedule, the loss."""

from collections.abc import Callable
from typing import Any

from ckpt.inspect.figure import COLOURS, Axes, scale
from experiments.report.figure import Picture, Scheme, legend
from experiments.report.run import Row, Run
from experiments.report.table import worded
from experiments.sweep.header import Plot
from policies.units import format_bytes

_MOST = 12
"""Pictures of one kind: a page with hundreds is read by nobody."""

Draw = Callable[[Axes, Scheme], None]


def single_pictures(run: Run, plot: Plot, name: str) -> list[Picture]:
    """One picture for each point that recorded what the plot needs."""
    made = _KINDS[plot.kind]
    rows = [row for row in run.rows if row.ok and row.meets(plot.at)]
    pictures = []
    for row in rows:
        data = row.get(plot.kind)
        if data:
            title = f"{plot.title}: {_label(run, row)}" if run.keys else plot.title
            pictures.append(Picture(f"{name}-{len(pictures)}", title, "", made(data, row)))
        if len(pictures) == _MOST:
            break
    return pictures


def _label(run: Run, row: Row) -> str:
    return ", ".join(f"{worded(key.rpartition('.')[2])} {row.get(key)}" for key in run.keys)


def _memory(data: list[Any], row: Row) -> Draw:
    """Bytes alive while each task runs, and the budget."""
    highest = max(b for _, b in data)
    budget = row.number("budget_bytes") or 0.0
    capped = highest <= budget <= 4 * highest

    def draw(axes: Axes, scheme: Scheme) -> None:
        factor, unit = scale(highest)
        edges = [0.0, *(t for t, _ in data)]
        axes.stairs([b / factor for _, b in data], edges, fill=True, color=COLOURS[0], linewidth=0)
        if capped:
            axes.axhline(
                budget / factor, color=COLOURS[5], linewidth=1.2,
                label=f"budget {format_bytes(int(budget))}",
            )  # fmt: skip
        axes.set_xlabel("time in the plan, s")
        axes.set_ylabel(f"memory alive, {unit}")
        axes.set_ylim(0, 1.2 * (budget if capped else highest) / factor)
        legend(axes, "upper right")
        del scheme

    return draw


def _anytime(data: list[Any], row: Row) -> Draw:
    """The best plan and the best bound after so many seconds of solving."""
    del row

    def draw(axes: Axes, scheme: Scheme) -> None:
        del scheme
        for place, word, colour in (
            (1, "best plan", COLOURS[0]),
            (2, "certified bound", COLOURS[5]),
        ):
            points = [(one[0], one[place]) for one in data if one[place] is not None]
            if points:
                axes.step(*zip(*points, strict=True), where="post", color=colour, label=word)
        axes.set_xlabel("seconds of solving")
        axes.set_ylabel("overhead, %")
        legend(axes)

    return draw


def _schedule(data: list[int], row: Row) -> Draw:
    """Which task runs at each position: what runs again stands off the diagonal."""
    del row

    def draw(axes: Axes, scheme: Scheme) -> None:
        del scheme
        seen: set[int] = set()
        parts: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        for position, task in enumerate(data):
            parts[task in seen].append((position, task))
            seen.add(task)
        for part, word, colour in zip(
            parts, ("first run", "runs again"), (COLOURS[0], COLOURS[5]), strict=True
        ):
            if part:
                axes.scatter(
                    *zip(*part, strict=True), s=max(1.0, 900 / len(data)), marker="s",
                    linewidths=0, color=colour, label=word,
                )  # fmt: skip
        axes.invert_yaxis()
        axes.set_xlabel("position in the plan")
        axes.set_ylabel("task, in the first order")
        legend(axes)

    return draw


def loss_pictures(run: Run, plot: Plot, name: str) -> list[Picture]:
    """The training loss of all points in one picture; equal curves lie on one another."""
    rows = [row for row in run.rows if row.ok and row.meets(plot.at) and row.get("losses")]
    if not rows:
        return []
    curves = len({row.get("loss_digest") for row in rows})

    def draw(axes: Axes, scheme: Scheme) -> None:
        del scheme
        for i, row in enumerate(rows):
            losses = row.get("losses")
            axes.plot(
                range(1, len(losses) + 1), losses, color=COLOURS[i % len(COLOURS)],
                linewidth=1.0 + 2.0 * (len(rows) - 1 - i) / max(1, len(rows) - 1),
                label=_label(run, row),
            )  # fmt: skip
        axes.set_xlabel("training step")
        axes.set_ylabel("training loss")
        legend(axes)

    caption = f"{len(rows)} curves, {curves} of them different"
    if curves == 1 and len(rows) > 1:
        caption = f"{len(rows)} curves, the same bit for bit"
    return [Picture(f"{name}-0", plot.title, caption, draw)]


_KINDS: dict[str, Callable[[Any, Row], Draw]] = {
    "memory": _memory,
    "anytime": _anytime,
    "schedule": _schedule,
}
