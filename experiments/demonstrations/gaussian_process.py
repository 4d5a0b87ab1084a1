"""A Gaussian process: training early and once, mean and variance of new points late and often.

    python -m experiments.demonstrations.gaussian_process [--picture gaussian_process.png]

One function takes training data and new points. Sides, timed in turns: `ckpt.partial_eval` with the
training data known; `jax.jit` with the data as arguments and as closed-over constants; and the
split that people write by hand, in JAX. Below, what each budget keeps, with the training inputs at
hand: the factor and the weights, or the weights alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App

import ckpt
import ckpt.numpy as cnp
from experiments.demonstrations.demonstration import (
    FOLDER,
    Config,
    DemonstrationError,
    configured,
    in_turns,
    show,
)
from policies.units import format_bytes, format_seconds

app = App(name="gaussian_process", help=__doc__)


class GaussianProcess(Config):
    """Sizes.

    Attributes:
        points: training points.
        dimensions: of a point.
        new: points of one call.
        calls: late calls per training.
        budgets: for what crosses.
    """

    points: int = 2000
    dimensions: int = 4
    new: int = 1
    calls: float = 10_000
    budgets: tuple[str, ...] = ("64MB", "16MB", "16kB")
    tolerance: float = 1e-10


def predictor(np: Any, solve: Callable[..., Any]) -> Callable[..., Any]:
    """Mean and variance at new points: `f(x, y, new)`, in NumPy or what looks like it.

    Args:
        np: the array library.
        solve: `solve(matrix, sides, transposed)` for lower triangular matrices.
    """

    def kernel(a: Any, b: Any) -> Any:
        squares = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None, :]
        return np.exp(a @ b.T - 0.5 * squares)

    def predict(x: Any, y: Any, new: Any) -> Any:
        factor = np.linalg.cholesky(kernel(x, x) + 0.1 * np.eye(x.shape[0]))
        weights = solve(factor, solve(factor, y[:, None], False), True)
        across = kernel(x, new)
        half = solve(factor, across, False)
        return across.T @ weights[:, 0], 1.0 - np.sum(half * half, axis=0)

    return predict


def _ours(matrix: Any, sides: Any, transposed: bool) -> Any:
    return cnp.solve_triangular(matrix, sides, lower=True, trans=int(transposed))


predict = predictor(np, _ours)


def jax_sides(x: Any, y: Any, new: Any) -> dict[str, Callable[[], Any]]:
    """The same function compiled by JAX in three ways."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import solve_triangular

    jax.config.update("jax_enable_x64", True)

    def solve(matrix: Any, sides: Any, transposed: bool) -> Any:
        return solve_triangular(matrix, sides, lower=True, trans=int(transposed))

    f = predictor(jnp, solve)
    x, y, new = (jnp.asarray(array) for array in (x, y, new))
    arguments = jax.jit(f)
    closure = jax.jit(lambda new: f(x, y, new))

    @jax.jit
    def fit(x: Any, y: Any) -> Any:
        squares = jnp.sum(x * x, axis=1)
        gram = jnp.exp(x @ x.T - 0.5 * (squares[:, None] + squares[None, :]))
        factor = jnp.linalg.cholesky(gram + 0.1 * jnp.eye(len(x)))
        return factor, solve(factor, solve(factor, y[:, None], False), True)

    @jax.jit
    def use(x: Any, factor: Any, weights: Any, new: Any) -> Any:
        squares = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(new * new, axis=1)[None, :]
        across = jnp.exp(x @ new.T - 0.5 * squares)
        half = solve(factor, across, False)
        return across.T @ weights[:, 0], 1.0 - jnp.sum(half * half, axis=0)

    factor, weights = fit(x, y)
    return {
        "jax.jit, data as arguments": lambda: jax.block_until_ready(arguments(x, y, new)),
        "jax.jit, data closed over": lambda: jax.block_until_ready(closure(new)),
        "jax.jit, split by hand": lambda: jax.block_until_ready(use(x, factor, weights, new)),
    }


def data(config: GaussianProcess) -> tuple[Any, Any, Any]:
    """Training inputs and values, and new points."""
    random = np.random.default_rng(config.seed)
    x = random.normal(size=(config.points, config.dimensions))
    return x, np.sin(x[:, 0]) * np.cos(x[:, 1]), random.normal(size=(config.new, config.dimensions))


def ladder(config: GaussianProcess, x: Any, y: Any, new: Any) -> list[list[str]]:
    """What each budget keeps with the training inputs at hand, and what a call then takes."""
    rows: list[list[str]] = []
    plans = [
        ckpt.partial_eval(
            predict, ("x", "y"), like=(x, y, new), at_hand="x", calls=config.calls, budget=budget
        )
        for budget in config.budgets
    ]
    bound = [plan.bind(x, y) for plan in plans]
    calls = {str(i): (lambda late=late: late(new)) for i, late in enumerate(bound)}
    took = in_turns(calls, min(3, config.repeat))
    for i, (budget, plan) in enumerate(zip(config.budgets, plans, strict=True)):
        kept = ", ".join(f"{r.op} {format_bytes(r.nbytes)}" for r in plan.residuals)
        predicted = format_seconds(plan.report.seconds_per_call)
        rows.append([budget, kept, predicted, format_seconds(took[str(i)])])
    return rows


def run(config: GaussianProcess) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds per call of every side, and how far its values are from ours.

    Raises:
        DemonstrationError: values differ by more than the tolerance.
    """
    x, y, new = data(config)
    staged = ckpt.partial_eval(predict, ("x", "y"), like=(x, y, new), calls=config.calls)
    late = staged.bind(x, y)
    sides = {"ckpt.partial_eval": lambda: late(new), **jax_sides(x, y, new)}
    wanted = late(new)
    apart = {
        name: max(float(np.abs(np.asarray(a) - b).max()) for a, b in zip(f(), wanted, strict=True))
        for name, f in sides.items()
    }
    worst = max(apart, key=lambda name: apart[name])
    if apart[worst] > config.tolerance:
        raise DemonstrationError(f"{worst} differs from ours by {apart[worst]:.2e}")
    return in_turns(sides, config.repeat), apart


def draw(seconds: dict[str, float], path: Path) -> None:
    """Seconds per call of every side."""
    from ckpt.inspect.figure import COLOURS, new_figure, save

    figure, axes = new_figure(7.5, 2.6)
    names = list(seconds)[::-1]
    bars = axes.barh(names, [1e3 * seconds[n] for n in names], color=COLOURS[7])
    bars[-1].set_color(COLOURS[0])
    axes.bar_label(bars, fmt="%.3g ms", padding=3, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds per prediction")
    save(figure, path)


@app.default
def main(config: Path = FOLDER / "gaussian_process.yaml", *, picture: Path | None = None) -> None:
    """Print the tables, and draw the first.

    Args:
        config: sizes.
        picture: where to draw.
    """
    told = configured(GaussianProcess, config)
    seconds, apart = run(told)
    ours = seconds["ckpt.partial_eval"]
    rows = [
        [name, format_seconds(took), f"{took / ours:.1f}", f"{apart[name]:.1e}"]
        for name, took in seconds.items()
    ]
    show("one prediction", ["side", "per call", "of ours", "apart"], rows)
    columns = ["budget", "kept", "predicted", "measured"]
    show("with the training inputs at hand", columns, ladder(told, *data(told)))
    if picture is not None:
        draw(seconds, picture)


if __name__ == "__main__":
    app()
