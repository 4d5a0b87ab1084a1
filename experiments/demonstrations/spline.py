"""Resampling one image under many transforms, by cubic splines.

    python -m experiments.demonstrations.spline [--picture spline.png]

One function takes an image and an affine map, and gives the image seen through it. The image is
known; what is kept of it is one array, the coefficients of its spline: what SciPy's users keep by
hand, with `spline_filter` and `prefilter=False`. Values are SciPy's.

Source: M. Unser. Splines: a perfect fit for signal and image processing. 1999 (the prefilter).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from scipy import ndimage

import ckpt
from experiments.demonstrations.demonstration import (
    FOLDER,
    Config,
    DemonstrationError,
    configured,
    in_turns,
    show,
)
from policies.units import format_bytes, format_seconds

app = App(name="spline", help=__doc__)


class Spline(Config):
    """Sizes. `size` is the side of the image, `transforms` how many are tried in a sweep."""

    size: int = 256
    transforms: float = 100
    tolerance: float = 1e-9


def prefilter(n: int) -> Any:
    """The matrix f64[n,n] that makes spline coefficients of samples, mirrored at both ends."""
    samples = np.diag(np.full(n, 4.0)) + np.eye(n, k=1) + np.eye(n, k=-1)
    samples[0, 1] = samples[-1, -2] = 2.0
    return np.linalg.inv(samples / 6)


def resampler(n: int) -> Callable[..., Any]:
    """`f(image, matrix, shift)`: the image at `matrix @ place + shift`, for all places."""
    coefficients_of = prefilter(n)
    rows, columns = (x.astype(np.float64) for x in np.mgrid[:n, :n])

    def weights(t: Any) -> list[Any]:
        back = 1.0 - t
        near, far = (2.0 / 3 - 0.5 * s * s * (2.0 - s) for s in (t, back))
        return [back * back * back / 6, near, far, t * t * t / 6]

    def mirrored(i: Any) -> Any:
        return (n - 1) - np.abs((n - 1) - np.abs(i))

    def resample(image: Any, matrix: Any, shift: Any) -> Any:
        flat = (coefficients_of @ image @ coefficients_of.T).reshape(n * n)
        y = matrix[0, 0] * rows + matrix[0, 1] * columns + shift[0]
        x = matrix[1, 0] * rows + matrix[1, 1] * columns + shift[1]
        floor_y, floor_x = np.floor(y), np.floor(x)
        total = 0.0
        for i, wy in enumerate(weights(y - floor_y)):
            row = mirrored(floor_y + (i - 1.0)) * n
            for j, wx in enumerate(weights(x - floor_x)):
                place = (row + mirrored(floor_x + (j - 1.0))).astype(np.int64)
                total = total + wy * wx * flat[place]
        return total

    return resample


def turn(angle: float, n: int) -> tuple[Any, Any]:
    """A rotation about the middle of the image."""
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (n - 1) / 2)
    return matrix, middle - matrix @ middle


def run(config: Spline) -> tuple[ckpt.Staged, dict[str, float], float]:
    """The split, seconds per transform of every side, and how far values are from SciPy's.

    Raises:
        DemonstrationError: by more than the tolerance.
    """
    n = config.size
    image = np.random.default_rng(config.seed).normal(size=(n, n))
    matrix, shift = turn(0.3, n)
    f = resampler(n)
    staged = ckpt.partial_eval(f, "image", like=(image, matrix, shift), calls=config.transforms)
    late = staged.bind(image)
    places = np.mgrid[:n, :n].reshape(2, -1)
    kept = ndimage.spline_filter(image, order=3, mode="mirror")

    def scipy(source: Any, *, filtered: bool) -> Any:
        at = matrix @ places + shift[:, None]
        found = ndimage.map_coordinates(source, at, order=3, mode="mirror", prefilter=not filtered)
        return found.reshape(n, n)

    sides = {
        "ckpt.partial_eval": lambda: late(matrix, shift),
        "SciPy, filtered by hand": lambda: scipy(kept, filtered=True),
        "SciPy": lambda: scipy(image, filtered=False),
    }
    apart = float(np.abs(late(matrix, shift) - scipy(kept, filtered=True)).max())
    if apart > config.tolerance:
        raise DemonstrationError(f"values differ from SciPy's by {apart:.2e}")
    return staged, in_turns(sides, config.repeat), apart


def draw(config: Spline, path: Path) -> None:
    """An image, and what is seen of it through three transforms by one early run."""
    from matplotlib.figure import Figure

    n = config.size
    rows, columns = np.mgrid[:n, :n] / n
    image = np.sin(20 * rows) * np.cos(30 * columns * rows)
    like = (image, *turn(0.0, n))
    late = ckpt.partial_eval(resampler(n), "image", like=like, calls=config.transforms).bind(image)
    figure = Figure(figsize=(9, 2.5), dpi=150, layout="constrained")
    for k, angle in enumerate((0.0, 0.3, 0.6, 0.9)):
        axes = figure.add_subplot(1, 4, k + 1)
        axes.imshow(late(*turn(angle, n)), cmap="gray")
        axes.set_axis_off()
        axes.set_title(f"{np.degrees(angle):.0f}°", fontsize=9)
    figure.savefig(path)


@app.default
def main(config: Path = FOLDER / "spline.yaml", *, picture: Path | None = None) -> None:
    """Print the table, and draw.

    Args:
        config: sizes.
        picture: where to draw.
    """
    told = configured(Spline, config)
    staged, seconds, apart = run(told)
    kept = ", ".join(f"{r.op} {r.type} {format_bytes(r.nbytes)}" for r in staged.residuals)
    rows = [[name, format_seconds(took)] for name, took in seconds.items()]
    show(f"kept: {kept}; values {apart:.1e} apart", ["side", "per transform"], rows)
    if picture is not None:
        draw(told, picture)


if __name__ == "__main__":
    app()
