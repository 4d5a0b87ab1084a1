"""Pictures of a loop: its schedule over time, and what more memory would buy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policies.errors import InvalidProblem
from policies.loops.actions import IN_HAND, Kind, Schedule
from policies.loops.options import Option

__all__ = ["LONGEST_DRAWN", "Figure", "draw_options", "draw_schedule", "save"]

Figure = Any
"""A matplotlib figure; it is optional, so its types are not named."""

LONGEST_DRAWN = 20_000
"""Steps of the longest loop whose schedule is drawn."""

_BLUE, _ORANGE, _GREEN, _PINK, _SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"


def draw_schedule(schedule: Schedule, title: str = "") -> Figure:
    """Draw which step runs when, and which states and residuals wait meanwhile.

    Time is counted in steps that run or come back.

    Raises:
        InvalidProblem: a loop longer than ``LONGEST_DRAWN``, or matplotlib is missing.
    """
    if schedule.length > LONGEST_DRAWN:
        raise InvalidProblem(
            f"a loop of {schedule.length} steps is too long to be drawn: at most {LONGEST_DRAWN}"
        )
    lines: dict[str, list[tuple[tuple[float, float], tuple[float, float]]]] = {
        name: [] for name in ("stored", "slow", "kept", "advance", "record", "reverse")
    }
    since: dict[tuple[str, int], int] = {}
    now = 0

    def end(what: str, step: int) -> None:
        lines[what].append(((since.pop((what, step)), step), (now, step)))

    for kind, step, where in schedule:
        if kind is Kind.ADVANCE:
            lines["advance"].append(((now, step), (now + where - step, where)))
            now += where - step
        elif kind is Kind.RECORD:
            lines["record"].append(((now, step), (now + 1, step + 1)))
            now += 1
            since["kept", step] = now
        elif kind is Kind.REVERSE:
            if where != IN_HAND:
                end("kept", step)
            lines["reverse"].append(((now, step + 1), (now + 1, step)))
            now += 1
        elif kind in {Kind.STORE, Kind.WRITE}:
            since["stored" if kind is Kind.STORE else "slow", step] = now
        elif kind in {Kind.FREE, Kind.ERASE}:
            end("stored" if kind is Kind.FREE else "slow", step)
    from_matplotlib = _matplotlib()
    figure = from_matplotlib.Figure(figsize=(9, 5), dpi=150, layout="constrained")
    axes: Any = figure.add_subplot()
    looks = {
        "stored": ("state stored", _SKY, 1.0, 0.8),
        "slow": ("state in slow memory", _PINK, 1.0, 0.8),
        "kept": ("residuals kept", _ORANGE, 1.0, 0.6),
        "advance": ("advance", _BLUE, 1.2, 1.0),
        "record": ("run, residuals kept", _ORANGE, 1.4, 1.0),
        "reverse": ("reverse", _GREEN, 1.6, 1.0),
    }
    for name, (label, colour, width, alpha) in looks.items():
        if lines[name]:
            axes.add_collection(
                from_matplotlib.LineCollection(
                    lines[name], colors=colour, linewidths=width, alpha=alpha, label=label,
                    rasterized=len(lines[name]) > 2000,
                )
            )  # fmt: skip
    axes.set_xlim(0, max(now, 1))
    axes.set_ylim(max(schedule.length, 1), 0)
    axes.set_xlabel("steps run or reversed so far")
    axes.set_ylabel("step of the loop")
    axes.set_title(
        title or f"{schedule.length} steps, {schedule.advances} advances", loc="left", fontsize=10
    )
    if schedule.length:
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(b=False)
    return figure


def draw_options(options: Sequence[Option], chosen: Option | None = None) -> Figure:
    """Draw the memory of a loop against its advances, with what is certified.

    Raises:
        InvalidProblem: no options, or matplotlib is missing.
    """
    if not options:
        raise InvalidProblem("there are no options to draw")
    from_matplotlib = _matplotlib()
    figure = from_matplotlib.Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes: Any = figure.add_subplot()
    mib = np.array([option.memory_bytes for option in options]) / 2**20
    seconds = [option.seconds for option in options]
    axes.plot(mib, seconds, "o-", color=_BLUE, markersize=4, label="schedule")
    axes.plot(
        mib, [option.bound_seconds for option in options],
        ":", color=_BLUE, label="certified: none is faster",
    )  # fmt: skip
    if chosen is not None:
        axes.plot(
            [chosen.memory_bytes / 2**20], [chosen.seconds], "D", color=_ORANGE, label="chosen"
        )
    axes.set_xscale("log" if mib[0] > 0 else "symlog")
    axes.set_yscale("log" if seconds[0] > 0 else "linear")
    axes.set_xlabel("memory of the loop, MiB")
    axes.set_ylabel("seconds there and back")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(b=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all, in the format of the file's suffix.

    Raises:
        InvalidProblem: the suffix is not .png, .svg or .pdf.
    """
    if path.suffix not in {".png", ".svg", ".pdf"}:
        raise InvalidProblem(f"{path.name}: a picture ends in .png, .svg or .pdf")
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        figure.savefig(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _matplotlib() -> Any:
    """Give the parts of matplotlib that are needed."""
    try:
        from matplotlib.collections import LineCollection
        from matplotlib.figure import Figure as Drawn
    except ImportError:
        raise InvalidProblem(
            "drawing needs matplotlib, which is not installed: pip install 'ckpt-compiler[plots]'"
        ) from None
    return _Matplotlib(Drawn, LineCollection)


class _Matplotlib:
    """What is used of matplotlib."""

    def __init__(self, figure: Any, lines: Any) -> None:
        self.Figure = figure
        self.LineCollection = lines
