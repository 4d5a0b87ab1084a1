"""Where did it come from? The initial state of viscous Burgers, recovered from its final one.

    python -m experiments.burgers_recovery [CONFIG] [--states 30] [--iterations 20] [--out FILE.png]

A flow is computed from a known initial state; from the final one alone, L-BFGS then looks for an
initial state that leads there. Every gradient runs the whole loop there and back in a budget of so
many of its states, four more and what a single step needs. Viscosity forgets small scales, so what
comes back is a smoothed picture of the truth that leads to the same end.
"""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from scipy.optimize import minimize

import ckpt
from ckpt.files import ready_for, write_with
from ckpt.inspect import figure
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.plan.nested import placed
from experiments.models import burgers
from experiments.schema import load_model
from policies.units import format_bytes

app = App(name="burgers_recovery", help=__doc__)
Array = np.ndarray[Any, Any]
State = dict[str, Array]


@dataclass(slots=True)
class Recovery:
    """What happened.

    Attributes:
        truth: the initial state that was to be found.
        found: the one that was found.
        final: where both lead.
        misfits: the loss at each iteration.
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

    @property
    def error(self) -> float:
        """Of the state found, relative to the truth, in the mean square."""
        missed = sum(np.sum((self.found[k] - self.truth[k]) ** 2) for k in self.truth)
        return float(np.sqrt(missed / sum(np.sum(x**2) for x in self.truth.values())))


def true_state(config: burgers.Config) -> State:
    """Two vortices on a periodic plate."""
    x = np.linspace(0, 2 * np.pi, config.size, endpoint=False)
    a, b = x[:, None], x[None, :]
    bump = np.exp(3 * (np.cos(a - 2.0) + np.cos(b - 2.5) - 2))
    u = 0.5 * np.sin(a) * np.cos(b) + 0.4 * bump
    v = -0.5 * np.cos(a) * np.sin(b) + 0.4 * bump
    return {"u": u.astype(config.dtype), "v": v.astype(config.dtype)}


def budget_of(config: burgers.Config, loss: Any, args: tuple[Any, ...], states: int) -> int:
    """Inputs and outputs, so many states and four more, and what one step back needs."""
    program = ckpt.value_and_grad(loss).joint_for(*args).program
    (op,) = [e.op for e in program.eqns if isinstance(e.op, ScanReverse)]
    state = 2 * config.size**2 * np.dtype(config.dtype).itemsize
    fixed = sum(v.type.nbytes for v in (*program.ins, *program.outs))
    return fixed + (states + 4) * state + placed(op.back).arena_bytes + 2**20


def recover(config: burgers.Config, states: int, iterations: int) -> Recovery:
    """Run the flow, forget where it began, and look for it.

    Raises:
        FloatingPointError: the flow is not stable.
    """
    truth = true_state(config)
    end = ckpt.compile(lambda s: _flow(config, s))(truth)
    if not all(np.isfinite(x).all() for x in end.values()):
        raise FloatingPointError("the flow blows up: take less advection or more diffusion")
    loss = burgers.make_loss(config)
    guess = {name: np.array(x) for name, x in end.items()}
    args = (guess, end["u"], end["v"])
    budget = budget_of(config, loss, args, states)
    step = ckpt.value_and_grad(loss, budget=budget)
    result = Recovery(truth, guess, end, budget_bytes=budget)
    took: list[float] = []
    shape = truth["u"].shape

    def unpacked(flat: Array) -> State:
        u, v = flat.astype(config.dtype).reshape(2, *shape)
        return {"u": u, "v": v}

    def objective(flat: Array) -> tuple[float, Array]:
        began = time.perf_counter()
        value, grads = step(unpacked(flat), end["u"], end["v"])
        took.append(time.perf_counter() - began)
        scale = flat.size  # the mean's gradient is tiny: curvature of about one suits L-BFGS
        gradient = scale * np.concatenate([grads["u"].ravel(), grads["v"].ravel()])
        if not result.misfits or value < result.misfits[-1]:
            result.misfits.append(float(value))
        return float(scale * value), gradient.astype(np.float64)

    start = np.concatenate([guess["u"].ravel(), guess["v"].ravel()]).astype(np.float64)
    best = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    result.found = unpacked(best.x)
    made = step.executable_for(*args)
    (op,) = [e.op for e in made.program.eqns if isinstance(e.op, ScanReverse)]
    result.seconds = float(np.median(took))
    result.peak_bytes = step.plan.peak_bytes
    result.slots = op.slots
    result.evaluations = config.steps + made.runs_of(op.advance) // max(made.stats.steps, 1)
    return result


def _flow(config: burgers.Config, state: Any) -> Any:
    def body(carry: Any, _: Any) -> Any:
        return burgers.step(*carry, config.advection, config.diffusion), None

    (u, v), _ = ckpt.scan(body, (state["u"], state["v"]), length=config.steps)
    return {"u": u, "v": v}


def draw(result: Recovery) -> Any:
    """Truth, what was found, where they lead, and how the misfit fell.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    figure.can_draw()
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(13.0, 3.4), dpi=130, layout="constrained")
    axes = drawn.subplots(1, 4)
    shown = (
        ("the initial u, to be found", result.truth),
        ("what is known: the final u", result.final),
        ("the initial u that was found", result.found),
    )
    top = max(float(np.abs(state["u"]).max()) for _, state in shown)
    for place, (title, state) in zip(axes, shown, strict=False):
        place.imshow(state["u"], cmap="RdBu_r", vmin=-top, vmax=top, interpolation="bilinear")
        place.set_title(title, fontsize=10)
        place.set_axis_off()
    axes[3].semilogy(result.misfits, color=figure.COLOURS[0])
    axes[3].set_title("misfit of the final state", fontsize=10)
    axes[3].set_xlabel("gradients that improved it")
    axes[3].spines[["top", "right"]].set_visible(b=False)
    return drawn


@app.default
def main(
    config: Path = Path("configs/models/burgers.yaml"),
    *,
    states: int = 30,
    iterations: int = 20,
    out: Path | None = None,
) -> int:
    """Recover an initial state.

    Args:
        config: a Burgers model.
        states: of the loop that the budget has room for.
        iterations: of L-BFGS.
        out: a picture.
    """
    ready_for(out)
    if out is not None:
        figure.can_draw(out)
    result = recover(load_model(config), states, iterations)
    print(
        f"misfit {result.misfits[0]:.3e} -> {result.misfits[-1]:.3e}; "
        f"initial state found up to {100 * result.error:.1f} %\n"
        f"budget {format_bytes(result.budget_bytes)}, planned {format_bytes(result.peak_bytes)}, "
        f"{result.slots} slots, {result.evaluations} steps forward a gradient, "
        f"{result.seconds:.3f} s each"
    )
    if out is not None:
        drawn = draw(result)
        write_with(out, lambda path: figure.save(drawn, path))
    return 0


if __name__ == "__main__":
    sys.exit(app())
