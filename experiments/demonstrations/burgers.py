"""Where did it come from? The initial state of viscous Burgers, recovered from its final one.

    python -m experiments.demonstrations.burgers [--picture burgers.png]

A flow begins with letters in one of its velocities, which soon cannot be read any more. From the
final state alone, L-BFGS looks for an initial state that leads there. Every gradient runs the whole
loop there and back in a budget of so many of its states, four more and what a single step needs.
Viscosity forgets small scales: what comes back is the truth with softer edges.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

import ckpt
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.plan.nested import placed
from experiments.demonstrations.demonstration import (
    Config,
    DemonstrationError,
    command,
    progress,
    show,
)
from experiments.models import burgers
from policies.units import format_bytes, format_seconds

Array = np.ndarray[Any, Any]
State = dict[str, Array]


class Burgers(Config):
    """What is recovered, and how.

    Attributes:
        flow: the grid and its time steps.
        letters: rows of a picture as large as the plate; `#` is ink.
        speed: of ink.
        blur: standard deviation of the softening of its edges, in cells.
        states: of the loop that the budget has room for.
        iterations: of L-BFGS.
    """

    flow: burgers.Config = burgers.Config(size=256, steps=1000, dtype="float64")
    letters: tuple[str, ...] = Field(default=("....", ".##.", ".#..", "...."), min_length=1)
    speed: float = 0.5
    blur: float = 4.0
    states: PositiveInt = 30
    iterations: PositiveInt = 100


@dataclass(slots=True)
class Recovery:
    """What happened.

    Attributes:
        truth: the initial state that was to be found.
        found: the one that was found.
        final: where the truth leads.
        misfits: the loss of the first guess, and after each iteration.
        seconds: of one gradient, the median.
        peak_bytes: of a gradient, as planned.
        budget_bytes: what it was allowed.
        slots: states that are kept.
        evaluations: steps forward of one gradient, as counted.
    """

    truth: State
    found: State
    final: State
    misfits: list[float] = field(default_factory=list[float])
    seconds: float = 0.0
    peak_bytes: int = 0
    budget_bytes: int = 0
    slots: int = 0
    evaluations: int = 0

    def error(self, name: str) -> float:
        """Of a velocity found, relative to how far the truth is from its mean."""
        true = self.truth[name]
        return float(np.linalg.norm(self.found[name] - true) / np.linalg.norm(true - true.mean()))


def true_state(config: Burgers) -> State:
    """Letters that drift, on a gentle swirl.

    Raises:
        DemonstrationError: the rows of the picture have different lengths.
    """
    rows = config.letters
    if len({len(row) for row in rows}) > 1:
        raise DemonstrationError("letters: every row has to be as long as the first")
    n = config.flow.size
    ink = np.array([[c == "#" for c in row] for row in rows], float)
    drawn = ink[np.ix_(*(np.arange(n) * k // n for k in ink.shape))]
    x = np.linspace(0, 2 * np.pi, n, endpoint=False)
    # nothing stands still: the tails of ink on a velocity of zero would be denormal, which is slow
    u = 0.05 + config.speed * gaussian_filter(drawn, config.blur, mode="wrap")
    v = 0.15 * np.cos(x)[:, None] * np.sin(x)[None, :]
    return {"u": u.astype(config.flow.dtype), "v": v.astype(config.flow.dtype)}


def budget_of(config: Burgers, loss: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Inputs and outputs, so many states and four more, and what one step back needs."""
    program = ckpt.value_and_grad(loss).joint_for(*args).program
    (op,) = [e.op for e in program.eqns if isinstance(e.op, ScanReverse)]
    state = 2 * config.flow.size**2 * np.dtype(config.flow.dtype).itemsize
    fixed = sum(v.type.nbytes for v in (*program.ins, *program.outs))
    return fixed + (config.states + 4) * state + placed(op.back).arena_bytes + 2**20


def recover(config: Burgers) -> Recovery:
    """Run the flow, forget where it began, and look for it.

    Raises:
        DemonstrationError: the flow is not stable.
    """
    truth = true_state(config)
    end = ckpt.compile(lambda s: _flow(config.flow, s))(truth)
    if not all(np.isfinite(x).all() for x in end.values()):
        raise DemonstrationError("the flow blows up: take less advection or more diffusion")
    loss = burgers.make_loss(config.flow)
    args = (end, end["u"], end["v"])
    budget = budget_of(config, loss, args)
    step = ckpt.value_and_grad(loss, budget=budget)
    result = Recovery(truth, end, end, budget_bytes=budget)
    took: list[float] = []
    shape = truth["u"].shape

    def unpacked(flat: Array) -> State:
        u, v = flat.astype(config.flow.dtype).reshape(2, *shape)
        return {"u": u, "v": v}

    def objective(flat: Array) -> tuple[float, Array]:
        began = time.perf_counter()
        value, grads = step(unpacked(flat), end["u"], end["v"])
        took.append(time.perf_counter() - began)
        result.misfits = result.misfits or [float(value)]
        scale = flat.size  # the mean's gradient is tiny: curvature of about one suits L-BFGS
        gradient = scale * np.concatenate([grads["u"].ravel(), grads["v"].ravel()])
        return float(scale * value), gradient.astype(np.float64)

    start = np.concatenate([end["u"].ravel(), end["v"].ravel()]).astype(np.float64)
    with progress("L-BFGS", config.iterations) as advance:

        def noted(intermediate_result: Any) -> None:
            result.misfits.append(float(intermediate_result.fun) / start.size)
            advance(f"misfit {result.misfits[-1]:.1e}")

        best = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=noted,
            options={"maxiter": config.iterations, "maxcor": 20, "ftol": 0, "gtol": 0},
        )
    result.found = unpacked(best.x)
    made = step.executable_for(*args)
    (op,) = [e.op for e in made.program.eqns if isinstance(e.op, ScanReverse)]
    result.seconds = float(np.median(took))
    result.peak_bytes = step.plan.peak_bytes
    result.slots = op.slots
    result.evaluations = config.flow.steps + made.runs_of(op.advance) // made.stats.steps
    return result


def _flow(config: burgers.Config, state: Any) -> Any:
    def body(carry: Any, _: Any) -> Any:
        return burgers.step(*carry, config.advection, config.diffusion), None

    (u, v), _ = ckpt.scan(body, (state["u"], state["v"]), length=config.steps)
    return {"u": u, "v": v}


def draw(result: Recovery, path: Path) -> None:
    """Truth, where it leads, what was found, what is missing, and how the misfit fell."""
    from ckpt.inspect.figure import COLOURS, can_draw, save

    can_draw(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 2.9), dpi=100, layout="constrained")
    axes = figure.subplots(1, 5)
    shown = (
        ("the initial u, unknown", result.truth["u"]),
        ("the final u, known", result.final["u"]),
        ("the initial u that was found", result.found["u"]),
        ("found less true", result.found["u"] - result.truth["u"]),
    )
    top = float(np.abs(result.truth["u"]).max())
    for place, (title, field_) in zip(axes, shown, strict=False):
        place.imshow(field_, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="bilinear")
        place.set_title(title, fontsize=10)
        place.set_axis_off()
    axes[4].semilogy(result.misfits, color=COLOURS[0])
    axes[4].set_title("misfit of the final state", fontsize=10)
    axes[4].set_xlabel("iterations of L-BFGS")
    axes[4].spines[["top", "right"]].set_visible(b=False)
    save(figure, path)


def report(config: Burgers) -> Callable[[Path], None]:
    """Print what a gradient took and what was found."""
    result = recover(config)
    columns = ["", "budget", "planned", "slots", "steps forward", "per gradient"]
    row = [
        "one gradient",
        format_bytes(result.budget_bytes),
        format_bytes(result.peak_bytes),
        str(result.slots),
        str(result.evaluations),
        format_seconds(result.seconds),
    ]
    show(f"{config.flow.steps} steps on {config.flow.size} x {config.flow.size}", columns, [row])
    show(
        f"after {len(result.misfits) - 1} iterations",
        ["", "misfit at first", "misfit at last", "u off by %", "v off by %"],
        [
            [
                "L-BFGS",
                f"{result.misfits[0]:.2e}",
                f"{result.misfits[-1]:.2e}",
                *(f"{100 * result.error(name):.1f}" for name in ("u", "v")),
            ]
        ],
    )
    return lambda path: draw(result, path)


if __name__ == "__main__":
    command("burgers", __doc__ or "", Burgers, report)
