"""A non-uniform Fourier transform with fixed nodes: how much of the interpolation to keep.

    python -m experiments.demonstrations.fourier [--picture fourier.png]

Values of a trigonometric polynomial in two variables at scattered nodes: its coefficients are
spread over a finer grid, and each node interpolates between the points around it. The nodes are
known, the coefficients are not. Libraries offer a ladder of plans, chosen by a flag: keep all
weights, keep those of each axis, or keep nothing. Here a budget chooses, and the values are those
of the sum by its definition.

Source: the kernel and its width: A. Barnett, J. Magland, L. af Klinteberg. A parallel nonuniform
fast Fourier transform library based on an "exponential of semicircle" kernel. 2019. The ladder: J.
Keiner, S. Kunis, D. Potts. Using NFFT 3. 2009.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App

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

app = App(name="fourier", help=__doc__)


class Fourier(Config):
    """Sizes.

    Attributes:
        modes: coefficients along each axis; even.
        nodes: where values are wanted.
        width: grid points that a node reads along each axis.
        calls: transforms per set of nodes.
        numbers_per_node: budgets, each eight bytes times this times the nodes; -1 for any.
        tolerance: relative, to the sum by its definition.
    """

    modes: int = 32
    nodes: int = 20_000
    width: int = 7
    calls: float = 200
    numbers_per_node: tuple[int, ...] = (-1, 16, 0)
    tolerance: float = 1e-5


def transform(modes: int, width: int) -> Callable[..., Any]:
    """`f(nodes, re, im)`: real and imaginary values f64[2,j] at nodes f64[j,2].

    Args:
        modes: coefficients f64[modes,modes], of frequencies from `-modes / 2` on.
        width: grid points per axis.
    """
    grid = 2 * modes
    step, beta = 2 * np.pi / grid, 2.3 * width
    frequencies = np.arange(-modes // 2, modes // 2)
    points, weights = np.polynomial.legendre.leggauss(200)
    half = width * step / 2
    smooth = np.exp(beta * (np.sqrt(1 - points**2) - 1)) * weights * half
    hat = np.cos(np.outer(frequencies, half * points)) @ smooth
    waves = np.exp(1j * np.outer(np.arange(grid) * step, frequencies)) * (step / hat)
    cosines, sines = np.ascontiguousarray(waves.real), np.ascontiguousarray(waves.imag)
    offsets = np.arange(width, dtype=np.float64)

    def along(x: Any) -> tuple[Any, Any]:
        """Places on the grid and weights, f64[j,width]."""
        first = np.ceil(x / step - width / 2)[:, None] + offsets
        z = (first * step - x[:, None]) / half
        inside = np.maximum(1.0 - z * z, 0.0)
        return first - grid * np.floor(first / grid), np.exp(beta * (np.sqrt(inside) - 1.0))

    def f(nodes: Any, re: Any, im: Any) -> Any:
        (rows, wy), (columns, wx) = along(nodes[:, 0]), along(nodes[:, 1])
        left = cosines @ re - sines @ im, cosines @ im + sines @ re
        fine = np.stack(
            [left[0] @ cosines.T - left[1] @ sines.T, left[0] @ sines.T + left[1] @ cosines.T]
        ).reshape(2, grid * grid)
        places = (rows[:, :, None] * grid + columns[:, None, :]).astype(np.int64)
        products = wy[:, :, None] * wx[:, None, :]
        return np.stack([np.sum(products * part[places], axis=(1, 2)) for part in fine])

    return f


def by_definition(nodes: Any, re: Any, im: Any) -> Any:
    """The sum itself."""
    frequencies = np.arange(-len(re) // 2, len(re) // 2)
    y, x = (np.exp(1j * np.outer(nodes[:, k], frequencies)) for k in (0, 1))
    values = np.einsum("jk,kl,jl->j", y, re + 1j * im, x, optimize=True)
    return np.stack([values.real, values.imag])


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of the ladder.

    Attributes:
        name: the budget.
        kept_bytes: of it.
        kept: in words.
        predicted_seconds: of one transform.
        seconds: measured.
    """

    name: str
    kept_bytes: int
    kept: str
    predicted_seconds: float
    seconds: float


def ladder(config: Fourier) -> list[Rung]:
    """What every budget keeps, and what a transform then takes.

    Raises:
        DemonstrationError: values are not those of the sum.
    """
    random = np.random.default_rng(config.seed)
    nodes = random.uniform(0, 2 * np.pi, (config.nodes, 2))
    re, im = random.normal(size=(2, config.modes, config.modes))
    terms: dict[str, Any] = {
        "known": "nodes", "like": (nodes, re, im), "at_hand": "nodes", "calls": config.calls,
    }  # fmt: skip
    f = transform(config.modes, config.width)
    splits = {
        "any" if n < 0 else format_bytes(8 * n * config.nodes): ckpt.partial_eval(
            f, budget=None if n < 0 else 8 * n * config.nodes, **terms
        )
        for n in config.numbers_per_node
    }
    late = {name: staged.bind(nodes) for name, staged in splits.items()}
    wanted = by_definition(nodes, re, im)
    for name, g in late.items():
        apart = float(np.abs(g(re, im) - wanted).max() / np.abs(wanted).max())
        if apart > config.tolerance:
            raise DemonstrationError(f"{name}: {apart:.2e} from the sum by its definition")
    took = in_turns({n: (lambda g=g: g(re, im)) for n, g in late.items()}, config.repeat)
    return [
        Rung(
            name,
            staged.residual_bytes,
            ", ".join(f"{r.op} {r.type}" for r in staged.residuals) or "nothing",
            staged.report.seconds_per_call,
            took[name],
        )
        for name, staged in splits.items()
    ]


def draw(rungs: list[Rung], path: Path) -> None:
    """Seconds against bytes kept."""
    from ckpt.inspect.figure import COLOURS, new_figure, save

    figure, axes = new_figure(6.5, 3.6)
    chosen = sorted(rungs, key=lambda r: r.kept_bytes)
    x = [r.kept_bytes / 1e6 for r in chosen]
    axes.plot(x, [1e3 * r.seconds for r in chosen], "o-", color=COLOURS[0], label="measured")
    predicted = [1e3 * r.predicted_seconds for r in chosen]
    axes.plot(x, predicted, ":", color=COLOURS[7], label="predicted")
    axes.set_xlabel("kept of the nodes, MB")
    axes.set_ylabel("milliseconds per transform")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    save(figure, path)


@app.default
def main(config: Path = FOLDER / "fourier.yaml", *, picture: Path | None = None) -> None:
    """Print the ladder, and draw it.

    Args:
        config: sizes.
        picture: where to draw.
    """
    told = configured(Fourier, config)
    rungs = ladder(told)
    rows = [
        [
            r.name,
            format_bytes(r.kept_bytes),
            r.kept,
            format_seconds(r.predicted_seconds),
            format_seconds(r.seconds),
        ]
        for r in rungs
    ]
    show("transforms at fixed nodes", ["budget", "bytes", "kept", "predicted", "measured"], rows)
    if picture is not None:
        draw(rungs, picture)


if __name__ == "__main__":
    app()
