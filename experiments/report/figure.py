"""Figures in two forms: for a page, whose colours follow its light or dark scheme, and for files.

A figure for a page is drawn in stand-in colours, which become CSS variables in its SVG. Figures
are small, so that their letters are readable on a phone that is as wide as they are.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ckpt.inspect.figure import COLOURS, Axes, Figure, can_draw

WIDTH, HEIGHT = 5.0, 3.4
"""Inches; at 72 points an inch this is as wide as a phone."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Colours of everything but the data."""

    ink: str
    grid: str


PRINTED = Scheme("#222222", "#dddddd")
PAGE = Scheme("#010203", "#040506")
"""Stand-ins: these exact values are replaced."""

_VARIABLES = {PAGE.ink: "var(--ink)", PAGE.grid: "var(--grid)"} | {
    colour.lower(): f"var(--c{i})" for i, colour in enumerate(COLOURS)
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure that can be drawn in any scheme.

    Attributes:
        name: of its files.
        title: above it.
        caption: below it.
        draw: puts it on axes; it uses `COLOURS` for data.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Axes, Scheme], None]

    def figure(self, scheme: Scheme) -> Figure:
        """Draw it.

        Raises:
            DrawingError: matplotlib is not installed.
        """
        can_draw()
        from matplotlib.figure import Figure as Drawn

        figure = Drawn(figsize=(WIDTH, HEIGHT), dpi=200, layout="constrained")
        axes = figure.add_subplot()
        _styled(axes, scheme)
        self.draw(axes, scheme)
        legend = axes.get_legend()
        if legend is not None:
            for text in legend.get_texts():
                text.set_color(scheme.ink)
        axes.set_title(self.title, loc="left", fontsize=9, color=scheme.ink, wrap=True)
        return figure

    def svg(self, scheme: Scheme = PRINTED) -> str:
        """As SVG text, the same for the same data."""
        import matplotlib as mpl

        out = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            figure = self.figure(scheme)
            figure.savefig(
                out,
                format="svg",
                transparent=scheme is PAGE,
                metadata={"Date": None, "Creator": None},
            )
        return out.getvalue()

    def inline(self) -> str:
        """As an SVG element of a page: colours are CSS variables, names are its own."""
        text = self.svg(PAGE)
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
        text = text.replace("<svg", '<svg role="img"', 1)
        text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{self.name}-", text)
        for colour, variable in _VARIABLES.items():
            text = text.replace(colour, variable)
        return text


def _styled(axes: Any, scheme: Scheme) -> None:
    axes.patch.set_alpha(0)
    axes.spines[["top", "right"]].set_visible(b=False)
    for spine in axes.spines.values():
        spine.set_color(scheme.ink)
    axes.tick_params(colors=scheme.ink, labelsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(scheme.ink)
        axis.label.set_size(8)
    axes.grid(visible=True, color=scheme.grid, linewidth=0.5)
    axes.set_axisbelow(True)


def legend(axes: Axes, where: str = "best") -> None:
    """A legend that stays out of the way of short lists and gets small for long ones."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(
            handles, labels, fontsize=7 if len(labels) <= 6 else 6, frameon=False, loc=where
        )
