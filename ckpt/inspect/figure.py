"""The one place that imports matplotlib: figures without a display, saved whole."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ckpt.errors import CkptError

Figure = Any
"""A matplotlib figure; it is optional, so its types are not named."""

Axes = Any
"""One pair of axes of a figure."""

COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7F7F",
)  # fmt: skip
"""Distinguishable with every kind of colour vision.

Source: Masataka Okabe, Kei Ito. Color Universal Design. 2008.
"""


PICTURES = (".png", ".svg", ".pdf")
"""Endings of pictures."""


class DrawingError(CkptError, RuntimeError):
    """A picture cannot be drawn; the message says how to get what is missing."""


def can_draw(path: Path | None = None) -> None:
    """Refuse early, before anything takes time.

    Args:
        path: where the picture is to go, if that is known.

    Raises:
        DrawingError: matplotlib is not installed, or the file's suffix is not of a picture.
    """
    if find_spec("matplotlib") is None:
        raise DrawingError(
            "drawing needs matplotlib, which is not installed: pip install 'ckpt-compiler[plots]'"
        )
    if path is not None and path.suffix not in PICTURES:
        raise DrawingError(f"{path.name}: a picture ends in {', '.join(PICTURES)}")


def new_figure(width: float = 9.0, height: float = 5.0) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; no display and no global state are touched.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    can_draw()
    from matplotlib.figure import Figure as Drawn

    figure = Drawn(figsize=(width, height), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(b=False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's suffix, one of `PICTURES`."""
    figure.savefig(path)


def scale(nbytes: float) -> tuple[float, str]:
    """The binary unit in which a number of bytes is best read.

    >>> scale(3 << 20)
    (1048576.0, 'MiB')
    """
    unit, factor = "B", 1.0
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if nbytes < 1024 * factor:
            break
        if unit != "TiB":
            factor *= 1024
    return factor, unit
