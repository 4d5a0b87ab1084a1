"""What a loop costs there and back: Burgers in a budget of so many states, beside JAX and equinox.

    python -m experiments.loops_benchmark [--size 256] [--steps 1000] [--slots 10 30 100]

The gradient of the misfit of the final state with respect to the initial one, in f64. Everything
runs in turns in one process, on one core; medians of processor time are reported. Per number of
slots: steps forward as counted, the bytes of the arena as planned and as touched, the time of a
gradient, and that time over `evaluations x step + steps x step back`, both steps timed on their
own. JAX's bytes are its compiler's own figure for temporaries. Systems that are not installed are
left out, and said to be.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

import ckpt
from ckpt.api.loop_budget import loops_of, with_slots
from ckpt.api.step import Step
from ckpt.choice import running_lets
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.files import write_text
from ckpt.ir.program import Program
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.plan.nested import placed
from ckpt.plan.place import place
from experiments.models import burgers
from experiments.result import machine, versions

app = App(name="loops_benchmark", help=__doc__)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to take the gradient.

    Attributes:
        system: what takes it.
        evaluations: steps forward, as counted; None where nobody counts.
        beyond_bytes: memory beyond inputs and results: the arena as touched, JAX's temporaries.
        planned_bytes: of the arena; None for others.
        seconds: of processor time of one gradient, the median.
        over_forward: seconds over those of the system's own forward sweep.
        over_ideal: seconds over what its steps take on their own; None for others.
        error: largest difference from our gradient, relative to its largest element.
    """

    system: str
    evaluations: int | None
    beyond_bytes: int
    planned_bytes: int | None
    seconds: float
    over_forward: float
    over_ideal: float | None
    error: float


def initial(size: int) -> tuple[Array, Array]:
    """Smooth velocities on a periodic grid."""
    x = np.linspace(0, 2 * np.pi, size, endpoint=False)
    u = 0.5 * np.sin(x)[:, None] * np.cos(x)[None, :]
    return u, 0.5 * np.cos(x)[:, None] * np.sin(2 * x)[None, :]


def with_so_many(step: Step, args: tuple[Any, ...], slots: int) -> Executable:
    """The gradient with a given number of slots, every other value kept."""
    program = step.joint_for(*args).program
    program = with_slots(program, dict.fromkeys(loops_of(program), slots))
    plan = place(program, running_lets(program), costs=CostModel(Device.this()))
    return Executable(program, plan, verified=False)


def reverse_of(made: Executable) -> ScanReverse:
    """The loop that runs back."""
    return next(e.op for e in made.program.eqns if isinstance(e.op, ScanReverse))


def alone(program: Program) -> Callable[[], float]:
    """A program of one step on its own, with results in place: seconds of a run."""
    made = Executable(program, placed(program))
    random = np.random.default_rng(0)
    ins = [0.1 * random.normal(size=v.type.shape) for v in program.ins]
    outs = [np.empty(v.type.shape, v.type.dtype.numpy) for v in program.outs]

    def run() -> float:
        began = time.process_time()
        for _ in range(20):
            made(*ins, out=outs)
        return (time.process_time() - began) / 20

    return run


def in_jax(config: burgers.Config, slots: int) -> dict[str, tuple[Callable[..., Any], int]]:
    """JAX's and equinox's gradients by name, compiled, with their bytes of temporaries."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    n = config.steps
    wrap = partial(jnp.pad, pad_width=1, mode="wrap")

    def one(carry: Any, _: Any = None) -> Any:
        return burgers.step(*carry, config.advection, config.diffusion, wrap), None

    def misfit(carry: Any, u: Any, v: Any) -> Any:
        return 0.5 * jnp.mean((carry[0] - u) ** 2 + (carry[1] - v) ** 2)

    def scan(body: Any, length: int) -> Any:
        return lambda c: jax.lax.scan(lambda c, _: (body(c), None), c, length=length)[0]

    def nested(lengths: tuple[int, ...], *, leaf: bool) -> Any:
        body: Any = lambda c: one(c)[0]  # noqa: E731
        body = jax.checkpoint(body) if leaf else body
        for depth, length in enumerate(reversed(lengths)):
            body = scan(body, length)
            if depth < len(lengths) - 1:
                body = jax.checkpoint(body)
        return body

    root = next(k for k in range(int(n**0.5), 0, -1) if n % k == 0)
    runs = {
        "JAX scan, body checkpointed": nested((n,), leaf=True),
        f"JAX {root} x {n // root}, body checkpointed": nested((root, n // root), leaf=True),
    }
    cube = round(n ** (1 / 3))
    if cube**3 == n:
        runs[f"JAX {cube} x {cube} x {cube}"] = nested((cube,) * 3, leaf=False)
    if find_spec("equinox") is not None:
        import equinox.internal as eqxi

        def equinox(c: Any) -> Any:
            def body(state: Any) -> Any:
                return one(state[0])[0], state[1] + 1

            return eqxi.while_loop(
                lambda s: s[1] < n, body, (c, 0), kind="checkpointed", checkpoints=slots
            )[0]

        runs[f"equinox, {slots} checkpoints"] = equinox
    u, v = initial(config.size)
    made: dict[str, tuple[Callable[..., Any], int]] = {}
    shape = jax.ShapeDtypeStruct(u.shape, u.dtype)
    for name, run in runs.items():
        gradient = jax.value_and_grad(lambda c, a, b, run=run: misfit(run(c), a, b))
        compiled = jax.jit(gradient).lower((shape, shape), shape, shape).compile()
        made[name] = compiled, compiled.memory_analysis().temp_size_in_bytes
    forward = jax.jit(lambda c, a, b: misfit(scan(lambda c: one(c)[0], n)(c), a, b))
    made["forward"] = forward.lower((shape, shape), shape, shape).compile(), 0
    del v
    return made


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one run."""
    began = time.process_time()
    run()
    return time.process_time() - began


def measure(config: burgers.Config, slots: list[int], repeat: int) -> list[Row]:
    """Every row, each side run in turns."""
    u, v = initial(config.size)
    measured = tuple(np.roll(0.9 * x, 3, 0) for x in (u, v))
    args = ({"u": u, "v": v}, *measured)
    loss = burgers.make_loss(config)
    gradient = ckpt.value_and_grad(loss)
    made = {s: with_so_many(gradient, args, s) for s in slots}
    sweep = ckpt.compile(loss)
    leaves = [u, v, *measured]
    result = {s: e(*leaves) for s, e in made.items()}
    reference = result[slots[0]]
    counts: dict[int, int] = {}
    for s, e in made.items():
        counts[s] = config.steps + e.runs_of(reverse_of(e).advance)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(result[s], reference, strict=True))
    sides: dict[str, Callable[[], Any]] = {f"{s}": partial(e, *leaves) for s, e in made.items()}
    sides["forward"] = partial(sweep, *args)
    op = reverse_of(made[slots[0]])
    step, back = alone(op.advance), alone(op.back)
    others = in_jax(config, 30) if find_spec("jax") is not None else {}
    for name, (run, _) in others.items():
        sides[f"jax {name}"] = lambda run=run: _ready(run((u, v), *measured))
    took: dict[str, list[float]] = {name: [] for name in (*sides, "step", "back")}
    for turn in range(repeat + 1):
        for name, run in sides.items():
            seconds = timed(run)
            if turn:
                took[name].append(seconds)
        took["step"].append(step())
        took["back"].append(back())
    mid = {name: median(seconds) for name, seconds in took.items()}
    rows: list[Row] = []
    for s, e in made.items():
        ideal = counts[s] * mid["step"] + config.steps * mid["back"]
        touched = e.measure(*leaves).measured_arena_bytes
        assert touched is not None
        name = f"ckpt, {s} slots"
        seconds = mid[f"{s}"]
        rows.append(
            Row(
                name,
                counts[s],
                touched,
                e.plan.arena_bytes,
                seconds,
                seconds / mid["forward"],
                seconds / ideal,
                0.0,
            )
        )
    for name, (run, nbytes) in others.items():
        if name == "forward":
            continue
        seconds = mid[f"jax {name}"]
        _, (gu, gv) = run((u, v), *measured)
        largest = max(np.abs(g).max() for g in reference[1:])
        pairs = zip(reference[1:], (gu, gv), strict=True)
        error = max(float(np.abs(a - np.asarray(b)).max()) for a, b in pairs) / largest
        over = seconds / mid["jax forward"]
        rows.append(Row(name, None, nbytes, None, seconds, over, None, error))
    return rows


def _ready(result: Any) -> Any:
    import jax

    return jax.block_until_ready(result)


def table_of(rows: list[Row], state: int) -> Table:
    """The rows for people; memory in states."""
    table = Table(title="one gradient, there and back")
    table.add_column("system", no_wrap=True)
    for name in ("evaluations", "states beyond", "seconds", "/ forward", "/ ideal", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in rows:
        table.add_row(
            r.system,
            "" if r.evaluations is None else f"{r.evaluations}",
            f"{r.beyond_bytes / state:.1f}",
            f"{r.seconds:.3f}",
            f"{r.over_forward:.2f}",
            "" if r.over_ideal is None else f"{r.over_ideal:.2f}",
            f"{r.error:.0e}",
        )
    return table


@app.default
def benchmark(
    *,
    size: int = 256,
    steps: int = 1000,
    slots: list[int] | None = None,
    repeat: int = 3,
    out: Path | None = None,
) -> int:
    """Measure one grid.

    Args:
        size: cells along each axis.
        steps: of the loop.
        slots: states to keep, the initial one included; by default 10, 30 and 100.
        repeat: measured turns; the first one warms up and does not count.
        out: JSON file.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config = burgers.Config(size=size, steps=steps, dtype="float64")
    rows = measure(config, slots or [10, 30, 100], repeat)
    Console(width=112).print(table_of(rows, 16 * size * size))
    for package in ("jax", "equinox"):
        if find_spec(package) is None:
            print(f"{package} is not installed, and left out")
    if out:
        document = {"machine": machine(), "versions": versions(), "rows": [asdict(r) for r in rows]}
        write_text(out, json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    app()
