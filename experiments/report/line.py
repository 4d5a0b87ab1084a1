"""A metric over an axis: one line for every series, with its bound from below."""

from collections import defaultdict
from typing import Any

from ckpt.inspect.figure import COLOURS, Axes
from experiments.report.figure import Picture, Scheme, legend
from experiments.report.run import Row, Run
from experiments.report.table import worded
from experiments.sweep.header import Plot

_MARKERS = "os^Dv<>P"


def line_pictures(run: Run, plot: Plot, name: str) -> list[Picture]:
    """One picture for every value of the plot's panel."""
    rows = [row for row in run.rows if row.ok and row.meets(plot.at)]
    panels: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        panels[_said(row.get(plot.panel)) if plot.panel else ""].append(row)
    pictures = []
    for number, (value, part) in enumerate(panels.items()):
        lines = _lines(part, plot)
        if lines:
            title = f"{plot.title}: {value}" if value else plot.title
            pictures.append(_picture(f"{name}-{number}", title, lines, plot))
    return pictures


Line = list[tuple[Any, float, float | None]]
"""Points: x, y and the bound of y."""


def _lines(rows: list[Row], plot: Plot) -> dict[str, Line]:
    lines: dict[str, Line] = defaultdict(list)
    for row in rows:
        y = row.number(plot.y)
        if y is None:
            continue
        x = row.number(plot.x)
        series = ", ".join(_said(row.get(key)) for key in plot.series)
        bound = row.number(plot.bound) if plot.bound else None
        lines[series].append((_said(row.get(plot.x)) if x is None else x, y, bound))
    for line in lines.values():
        if not any(isinstance(point[0], str) for point in line):  # words keep their order
            line.sort(key=lambda point: point[0])
    return lines


def _picture(name: str, title: str, lines: dict[str, Line], plot: Plot) -> Picture:
    def draw(axes: Axes, scheme: Scheme) -> None:
        del scheme
        for i, (series, line) in enumerate(lines.items()):
            colour, marker = COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)]
            xs = [point[0] for point in line]
            axes.plot(
                xs, [point[1] for point in line], color=colour, marker=marker, markersize=3.5,
                linewidth=1.2, label=series or None,
            )  # fmt: skip
            bounds = [(x, b) for x, _, b in line if b is not None]
            if any(b > 0 for _, b in bounds):  # that nothing takes less than nothing is no news
                label = f"{series}: bound" if series else "bound"
                axes.plot(*zip(*bounds, strict=True), color=colour, linestyle=":", label=label)
        for axis in plot.log:
            _logarithmic(axes, axis, lines)
        axes.set_xlabel(worded(plot.x))
        axes.set_ylabel(worded(plot.y))
        legend(axes)

    return Picture(name, title, "", draw)


def _logarithmic(axes: Axes, axis: str, lines: dict[str, Line]) -> None:
    values = [point[0 if axis == "x" else 1] for line in lines.values() for point in line]
    if all(isinstance(value, float) and value > 0 for value in values):
        getattr(axes, f"set_{axis}scale")("log")
    else:
        getattr(axes, f"set_{axis}scale")("symlog", linthresh=0.1)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(_said(below) for below in value.values())
    return str(value)


def measured_pictures(run: Run, plot: Plot, name: str) -> list[Picture]:
    """What was predicted against what was measured, with the diagonal where they agree."""
    rows = [row for row in run.rows if row.ok and row.meets(plot.at)]
    pairs = [(row.number(plot.x), row.number(plot.y), row) for row in rows]
    points = [(x, y, row) for x, y, row in pairs if x is not None and y is not None]
    if not points:
        return []

    def draw(axes: Axes, scheme: Scheme) -> None:
        groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for x, y, row in points:
            groups[", ".join(_said(row.get(key)) for key in plot.series)].append((x, y))
        for i, (series, group) in enumerate(groups.items()):
            axes.scatter(
                *zip(*group, strict=True), s=14, color=COLOURS[i % len(COLOURS)],
                marker=_MARKERS[i % len(_MARKERS)], label=series or None,
            )  # fmt: skip
        values = [v for x, y, _ in points for v in (x, y)]
        ends = (min(values), max(values))
        axes.plot(ends, ends, color=scheme.ink, linewidth=0.8, linestyle="--", label="equal")
        axes.set_xlabel(worded(plot.x))
        axes.set_ylabel(worded(plot.y))
        legend(axes)

    return [Picture(f"{name}-0", plot.title, "", draw)]
