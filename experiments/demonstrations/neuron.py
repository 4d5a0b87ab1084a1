"""A neuron that was measured, as an equation: an adaptive integrator, fitted through its steps.

    python -m experiments.demonstrations.neuron [--picture neuron.png]

A current makes a cell fire; its potential was recorded. A cell of Morris and Lecar with one more,
slower current is fitted to a few of its spikes by L-BFGS. The equation is stiff while a spike lasts
and slow in between, so steps are as long as an estimate of their error allows: how many there are
depends on the values, and the loop is a `ckpt.while_loop`. Its gradient takes the memory of a fixed
number of states. Lengths of steps are no part of the derivative.

From a poor guess a spike comes at the wrong time, and no small change improves it. So the recording
first pulls the model along, and ever less so, until it runs on its own.

Sources: the recording is `membrane.dat` of Matplotlib, from which its first logo was drawn. C.
Morris, H. Lecar. Voltage oscillations in the barnacle giant muscle fiber. 1981. The steps: P.
Bogacki, L. Shampine. A 3(2) pair of Runge-Kutta formulas. 1989. Letting go slowly: H. Abarbanel, D.
Creveling, R. Farsian, M. Kostuk. Dynamical state and parameter estimation. 2009. Derivatives that
leave step lengths out: A. Walther. Automatic differentiation of explicit Runge-Kutta methods for
optimal control. 2007.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt
from scipy.optimize import minimize

import ckpt
import ckpt.numpy as cnp
from ckpt.ops.loop_reverse import ScanReverse
from experiments.demonstrations.demonstration import (
    Config,
    DemonstrationError,
    command,
    in_turns,
    progress,
    show,
)
from policies.units import format_bytes, format_seconds

Array = np.ndarray[Any, Any]

SAMPLE_MS = 0.5
"""Time between two samples of the recording."""

PARAMETERS = {
    "current": (4.0, 1.0),
    "leak": (0.05, 0.0),
    "leak_mv": (-65.0, 10.0),
    "inward": (2.0, 0.0),
    "inward_mv": (20.0, 10.0),
    "outward": (4.0, 0.0),
    "outward_mv": (-80.0, 10.0),
    "slow": (0.3, 0.0),
    "inward_half_mv": (-20.0, 5.0),
    "outward_half_mv": (-15.0, 5.0),
    "slow_half_mv": (-30.0, 5.0),
    "inward_width_mv": (9.0, 0.0),
    "outward_width_mv": (8.0, 0.0),
    "slow_width_mv": (8.0, 0.0),
    "outward_ms": (2.0, 0.0),
    "slow_ms": (30.0, 0.0),
    "outward_at_first": (0.05, 0.1),
    "slow_at_first": (0.3, 0.1),
}
"""The guess of each, and how far from it may be expected; 0 for what is positive, a factor of e."""


class Neuron(Config):
    """What is fitted, and how.

    Attributes:
        first, samples: of the recording.
        tolerance: of a step, in millivolts and, for the share of open channels, in percent.
        longest_ms: of a step.
        most_steps: of a run.
        pulls: of the recording on the model, per millisecond, one after another; the last is none.
        iterations: of L-BFGS for each.
        prior: how much is paid, in square millivolts, for a parameter as far off as expected.
        reach: how often as far as expected a parameter may go.
        budget: of a gradient, on everything alive.
        others: budgets that have to give the same bits.
        foretold: samples after those that are fitted, for the picture.
    """

    first: int = Field(default=3000, ge=0)
    samples: PositiveInt = 500
    tolerance: float = Field(default=0.02, gt=0)
    longest_ms: float = Field(default=1.0, gt=0)
    most_steps: PositiveInt = 20_000
    pulls: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.0)
    iterations: PositiveInt = 100
    prior: float = 0.01
    reach: float = Field(default=1.5, gt=0)
    budget: str = "10KiB"
    others: tuple[str, ...] = ("16KiB",)
    foretold: int = Field(default=290, ge=0)


def recording() -> Array:
    """The potential of a cell in millivolts, f64[12000], a sample every `SAMPLE_MS`.

    Raises:
        DemonstrationError: Matplotlib is not installed.
    """
    try:
        from matplotlib import cbook
    except ImportError:
        raise DemonstrationError(
            "the recording comes with matplotlib: pip install 'ckpt-compiler[plots]'"
        ) from None
    with cbook.get_sample_data("membrane.dat") as file:
        return 100.0 * np.frombuffer(file.read(), np.float32).astype(np.float64)


def parameters(x: Any) -> dict[str, Any]:
    """Parameters from how far each is from its guess, f64[p]."""
    return {
        name: guess + spread * x[i] if spread else guess * np.exp(x[i])
        for i, (name, (guess, spread)) in enumerate(PARAMETERS.items())
    }


def slope(p: dict[str, Any], pull: Any, data: Any) -> Callable[[Any, Any], Any]:
    """`f(t, y)`: derivatives of potential, two shares of open channels, and the misfit, f64[4]."""
    half = np.stack([p["inward_half_mv"], p["outward_half_mv"], p["slow_half_mv"]])
    width = np.stack([p["inward_width_mv"], p["outward_width_mv"], p["slow_width_mv"]])
    pace = np.stack([1.0 / p["outward_ms"], 1.0 / p["slow_ms"]])

    def f(t: Any, y: Any) -> Any:
        at = t / SAMPLE_MS
        left = np.minimum(np.floor(at), len(data) - 2.0)
        place = left.astype(np.int64)
        measured = data[place] + (at - left) * (data[place + 1] - data[place])
        v = y[0]
        opens = 0.5 * (1.0 + np.tanh((v - half) / width))
        flows = (
            p["current"]
            - p["leak"] * (v - p["leak_mv"])
            - p["inward"] * opens[0] * (v - p["inward_mv"])
            - (p["outward"] * y[1] + p["slow"] * y[2]) * (v - p["outward_mv"])
        )
        missed = v - measured
        gates = pace * (opens[1:] - y[1:3])
        return np.stack([flows - pull * missed, gates[0], gates[1], missed * missed])

    return f


def stepper(f: Callable[[Any, Any], Any], config: Neuron) -> Callable[[Any], Any]:
    """`step((t, h, y))`: a step of length h if its error is small, and the next length."""
    end = (config.samples - 1) * SAMPLE_MS
    # shares of open channels count in percent; the misfit does not count
    weights = np.array([1.0, 100.0, 100.0, 0.0]) / config.tolerance

    def step(state: Any) -> Any:
        t, h, y = state
        a = f(t, y)
        b = f(t + 0.5 * h, y + 0.5 * h * a)
        c = f(t + 0.75 * h, y + 0.75 * h * b)
        third = y + h * (2.0 * a + 3.0 * b + 4.0 * c) / 9.0
        d = f(t + h, third)
        apart = h * (-5.0 * a + 6.0 * b + 8.0 * c - 9.0 * d) / 72.0
        error = np.max(np.abs(apart) * weights)
        taken = error <= 1.0
        grown = h * np.clip(0.9 * np.maximum(error, 1e-9) ** (-1.0 / 3), 0.2, 4.0)
        t, y = np.where(taken, t + h, t), np.where(taken, third, y)
        return t, cnp.stop_gradient(np.minimum(np.minimum(grown, config.longest_ms), end - t)), y

    return step


def start(x: Any, data: Any) -> Any:
    """Time, length of the first step, and the state at the first sample."""
    p = parameters(x)
    first = [data[0], p["outward_at_first"], p["slow_at_first"], 0.0 * data[0]]
    return np.float64(0.0), np.float64(0.1), np.stack(first)


def misfit(config: Neuron) -> Callable[..., Any]:
    """`loss(x, pull, data)`: mean square of what is missed, in square millivolts, and the prior."""
    end = (config.samples - 1) * SAMPLE_MS

    def loss(x: Any, pull: Any, data: Any) -> Any:
        step = stepper(slope(parameters(x), pull, data), config)
        _, _, y = ckpt.while_loop(
            lambda s: s[0] < end - 1e-9, step, start(x, data), max_steps=config.most_steps
        )
        return y[3] / end + config.prior * np.sum(x * x)

    return loss


def trajectory(config: Neuron, x: Array, data: Array) -> Array:
    """Times and potentials at the steps of the model on its own, f64[2,steps], by NumPy alone."""
    step = stepper(slope(parameters(x), 0.0, data), config)
    state, found = start(x, data), [(0.0, data[0])]
    while state[0] < (config.samples - 1) * SAMPLE_MS - 1e-9:
        after = step(state)
        if after[0] > state[0]:
            found.append((after[0], after[2][0]))
        state = after
    return np.array(found).T


@dataclass(slots=True)
class Fit:
    """What was found.

    Attributes:
        data: the recording, those foretold included.
        x: how far each parameter is from its guess.
        losses: the loss at each iteration, for each pull.
        gradients: how many were taken.
        seconds: that all of it took.
    """

    data: Array
    x: Array
    losses: list[list[float]] = field(default_factory=list[list[float]])
    gradients: int = 0
    seconds: float = 0.0


def fit(config: Neuron) -> Fit:
    """Fit the model to the recording.

    Raises:
        DemonstrationError: the recording has not so many samples.
    """
    whole = recording()
    last = config.first + config.samples + config.foretold
    if last > len(whole):
        raise DemonstrationError(f"the recording has {len(whole)} samples; {last} are asked for")
    found = Fit(whole[config.first : last].copy(), np.zeros(len(PARAMETERS)))
    data = found.data[: config.samples]
    gradient = ckpt.value_and_grad(misfit(config), budget=config.budget)
    began = time.perf_counter()
    with progress("letting go", len(config.pulls)) as advance:
        for pull in config.pulls:
            found.losses.append([])

            def noted(intermediate_result: Any) -> None:
                found.losses[-1].append(float(intermediate_result.fun))

            best = minimize(
                lambda x, pull=pull: gradient(x, np.float64(pull), data),
                found.x,
                jac=True,
                method="L-BFGS-B",
                bounds=[(-config.reach, config.reach)] * len(found.x),
                callback=noted,
                options={"maxiter": config.iterations},
            )
            found.x, found.gradients = best.x, found.gradients + best.nfev
            advance(f"pull {pull:g}: {best.fun:.2f} mV²")
    found.seconds = time.perf_counter() - began
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """One gradient.

    Attributes:
        budget: on everything alive.
        peak_bytes: as planned.
        slots: states that are kept.
        steps: of the integrator, refused ones included.
        again: steps made once more on the way back.
        seconds: the median.
        result: of the loss and its gradient, as bytes.
    """

    budget: str
    peak_bytes: int
    slots: int
    steps: int
    again: int
    seconds: float
    result: bytes


def gradients(config: Neuron, found: Fit) -> list[Row]:
    """The gradient at the model found, in each of the budgets.

    Raises:
        DemonstrationError: it has not the same bits.
    """
    args = (found.x, np.float64(0.0), found.data[: config.samples])
    made = {
        b: ckpt.value_and_grad(misfit(config), budget=b) for b in (config.budget, *config.others)
    }
    results = {b: step(*args) for b, step in made.items()}
    runs: dict[str, tuple[int, int, int]] = {}
    for budget, step in made.items():
        executable = step.executable_for(*args)
        (op,) = [e.op for e in executable.program.eqns if isinstance(e.op, ScanReverse)]
        runs[budget] = op.slots, executable.runs_of(op.back), executable.runs_of(op.advance)
    seconds = in_turns({b: (lambda s=s: s(*args)) for b, s in made.items()}, config.repeat)
    rows = [
        Row(b, made[b].plan.peak_bytes, *runs[b], seconds[b], value.tobytes() + slopes.tobytes())
        for b, (value, slopes) in results.items()
    ]
    for row in rows:
        if row.result != rows[0].result:
            raise DemonstrationError(f"{row.budget} gives other bits than {rows[0].budget}")
    return rows


def draw(config: Neuron, found: Fit, path: Path) -> None:
    """The recording and the model on its own, beyond what was fitted too."""
    from ckpt.inspect.figure import COLOURS, new_figure, save

    figure, axes = new_figure(9.0, 3.0)
    longer = config.model_copy(update={"samples": len(found.data)})
    times = np.arange(len(found.data)) * SAMPLE_MS
    axes.axvspan(config.samples * SAMPLE_MS, times[-1], color="0.93", label="not fitted")
    axes.plot(times, found.data, ".", color=COLOURS[7], markersize=4, label="recorded")
    axes.plot(*trajectory(longer, found.x, found.data), color=COLOURS[0], label="model on its own")
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("millivolts")
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98))
    save(figure, path)


def report(config: Neuron) -> Callable[[Path], None]:
    """Print the tables."""
    found = fit(config)
    rows = gradients(config, found)
    show(
        f"{found.gradients} gradients in {format_seconds(found.seconds)}",
        ["pull per ms", "iterations", "loss at last, mV²"],
        [
            [f"{pull:g}", str(len(losses)), f"{losses[-1]:.3f}" if losses else "no better"]
            for pull, losses in zip(config.pulls, found.losses, strict=True)
        ],
    )
    show(
        "one gradient, the same bits",
        ["budget", "planned", "slots", "steps", "steps again", "per gradient"],
        [
            [
                r.budget,
                format_bytes(r.peak_bytes),
                str(r.slots),
                str(r.steps),
                str(r.again),
                format_seconds(r.seconds),
            ]
            for r in rows
        ],
    )
    values = {name: float(value) for name, value in parameters(found.x).items()}
    show(
        "the model",
        ["parameter", "guess", "found"],
        [[name, f"{PARAMETERS[name][0]:g}", f"{value:.3g}"] for name, value in values.items()],
    )
    return lambda path: draw(config, found, path)


if __name__ == "__main__":
    command("neuron", __doc__ or "", Neuron, report)
