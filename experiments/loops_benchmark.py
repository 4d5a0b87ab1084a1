"""What a loop costs there and back: Burgers in a budget of so many states, beside others.

    python -m experiments.loops_benchmark [--size 256] [--steps 1000] [--slots 10 30 100]
    python -m experiments.loops_benchmark --steps 10000 --slots 30 --only ckpt

The gradient of the misfit of the final state with respect to the initial one, in f64. Everything
runs in turns in one process, on one core; medians of processor time are reported. Sides are `ckpt`,
`schedules` (a step and its adjoint written by hand in numba, and driven from Python by a schedule
of the package checkpoint_schedules, at each number of slots), `jax` (scans with checkpoints) and
`equinox`; what is not installed is left out, and said to be.

Columns: steps forward as counted; memory beyond inputs and results, which for us is what a gradient
touches of the arena, for JAX and equinox their compiler's figure for temporaries, and for schedules
their buffers; by how much the process's high-water mark rises during one gradient (Linux; results
are in it); seconds of a gradient; these over the system's own sweep forward; and over the model
`evaluations x step + steps x step back`, both timed on their own. The model's evaluations are those
of the optimum, P(n, s) and one.
"""

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

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
from ckpt.errors import CkptError
from ckpt.files import write_text
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ops.loop import Scan
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.plan.nested import placed
from ckpt.plan.place import place
from experiments.high_water import CLEAR, rise_during
from experiments.models import burgers
from experiments.result import machine, versions
from policies.loops.binomial import forward_steps

app = App(name="loops_benchmark", help=__doc__)
Array = np.ndarray[Any, Any]
Side = Literal["ckpt", "schedules", "jax", "equinox"]
PACKAGES = {"schedules": "checkpoint_schedules", "jax": "jax", "equinox": "equinox"}


@dataclass(frozen=True, slots=True)
class Row:
    """One way to take the gradient.

    Attributes:
        system: what takes it.
        evaluations: steps forward, as counted; None where nobody counts.
        beyond_bytes: memory beyond inputs and results: the arena as touched, JAX's temporaries.
        planned_bytes: of the arena; None for others.
        rise_bytes: of the process's high-water mark during a gradient; None off Linux.
        seconds: of processor time of one gradient, the median.
        over_forward: seconds over those of the system's own forward sweep.
        ideal_seconds: the model; None where steps are not timed on their own.
        over_ideal: seconds over those.
        error: largest difference from our gradient, relative to its largest element.
    """

    system: str
    evaluations: int | None
    beyond_bytes: int
    planned_bytes: int | None
    rise_bytes: int | None
    seconds: float
    over_forward: float
    ideal_seconds: float | None
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


ALONE = 200
"""Steps that are timed on their own, in a compiled loop: calls from Python would count."""


def alone(program: Program, fixed: int) -> Callable[[], float]:
    """A program of one step, its first operands always the same: seconds of a run."""
    moving = len(program.ins) - fixed
    loop = Scan(program, ALONE, fixed, moving, arena_bytes=placed(program).arena_bytes)
    ins = tuple(Var(v.type.plain()) for v in program.ins)
    outs = tuple(Var(v.type.plain()) for v in program.outs)
    whole = Program("alone", ins, (Eqn(outs, loop, ins),), outs)
    made = Executable(whole, placed(whole))
    random = np.random.default_rng(0)
    args = [0.1 * random.normal(size=v.type.shape) for v in ins]
    results = [np.empty(v.type.shape, v.type.dtype.numpy) for v in outs]
    return lambda: timed(lambda: made(*args, out=results)) / ALONE


def in_jax(
    config: burgers.Config, slots: Sequence[int], sides: Sequence[Side]
) -> dict[str, tuple[Callable[..., Any], int]]:
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

    runs: dict[str, Any] = {}
    if "jax" in sides:
        root = next(k for k in range(int(n**0.5), 0, -1) if n % k == 0)
        runs["JAX scan, body checkpointed"] = nested((n,), leaf=True)
        runs[f"JAX {root} x {n // root}, body checkpointed"] = nested((root, n // root), leaf=True)
        cube = round(n ** (1 / 3))
        if cube**3 == n:
            runs[f"JAX {cube} x {cube} x {cube}"] = nested((cube,) * 3, leaf=False)
    if "equinox" in sides:
        import equinox.internal as eqxi

        def equinox(c: Any, checkpoints: int) -> Any:
            def body(state: Any) -> Any:
                return one(state[0])[0], state[1] + 1

            return eqxi.while_loop(
                lambda s: s[1] < n, body, (c, 0), kind="checkpointed", checkpoints=checkpoints
            )[0]

        runs |= {f"equinox, {s} checkpoints": partial(equinox, checkpoints=s) for s in slots}
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


@dataclass(frozen=True, slots=True)
class Way:
    """One way to take the gradient, ready to run.

    Attributes:
        name: what it is called.
        run: takes it: the loss, then both cotangents.
        fresh: takes it in memory that nothing has touched yet.
        of: whose own sweep and steps it is held against: "ckpt", "schedules" or "jax".
        slots: states kept; None where nobody says.
        evaluations: steps forward, as counted.
        beyond_bytes: see `Row`.
        planned_bytes: see `Row`.
    """

    name: str
    run: Callable[[], Sequence[Any]]
    fresh: Callable[[], Any]
    of: str
    slots: int | None
    evaluations: int | None
    beyond_bytes: int
    planned_bytes: int | None


Clocks = dict[str, Callable[[], float]]
"""Seconds of a sweep forward, of a step and of a step back, by the way's `of` and these words."""


def ours(
    config: burgers.Config, slots: Sequence[int], leaves: list[Array]
) -> tuple[list[Way], Clocks]:
    """Our gradient with each number of slots; its bits do not depend on that."""
    u, v, *measured = leaves
    args = ({"u": u, "v": v}, *measured)
    loss = burgers.make_loss(config)
    gradient = ckpt.value_and_grad(loss)
    ways: list[Way] = []
    reference: Any = None
    for s in slots:
        made = with_so_many(gradient, args, s)
        result = made(*leaves)
        reference = reference or result
        assert all(a.tobytes() == b.tobytes() for a, b in zip(result, reference, strict=True))
        count = config.steps + made.runs_of(reverse_of(made).advance)
        touched = made.measure(*leaves).measured_arena_bytes
        assert touched is not None
        run = partial(made, *leaves)
        again: Any = made.clone()  # its arena is not resident until a gradient touches it
        fresh = partial(again, *leaves)
        ways.append(
            Way(f"ckpt, {s} slots", run, fresh, "ckpt", s, count, touched, made.plan.arena_bytes)
        )
    op = reverse_of(with_so_many(gradient, args, slots[0]))
    sweep = partial(ckpt.compile(loss), *args)
    clocks: Clocks = {
        "ckpt sweep": partial(timed, sweep),
        "ckpt step": alone(op.advance, op.consts),
        "ckpt back": alone(op.back, op.consts + op.carry),
    }
    return ways, clocks


def by_schedules(
    config: burgers.Config, slots: Sequence[int], leaves: list[Array]
) -> tuple[list[Way], Clocks]:
    """A step and its adjoint by hand, driven by a schedule of the package."""
    from experiments import scheduled_burgers as by_hand

    start, measured = np.stack(leaves[:2]), np.stack(leaves[2:])

    def run(s: int) -> list[Any]:
        cotangents, _ = by_hand.gradient(config, s, start, measured)
        return [None, *cotangents]

    ways: list[Way] = []
    for s in slots:
        _, count = by_hand.gradient(config, s, start, measured)
        name = f"checkpoint_schedules, {s} slots"
        nbytes = (s + by_hand.BUFFERS) * start.nbytes
        ways.append(
            Way(name, partial(run, s), partial(run, s), "schedules", s, count, nbytes, None)
        )
    step, back = by_hand.timed_alone(config)
    clocks: Clocks = {
        "schedules sweep": partial(timed, partial(by_hand.sweep, config, start)),
        "schedules step": lambda: timed(lambda: [step() for _ in range(ALONE)]) / ALONE,
        "schedules back": lambda: timed(lambda: [back() for _ in range(ALONE)]) / ALONE,
    }
    return ways, clocks


def by_jax(
    config: burgers.Config, slots: Sequence[int], leaves: list[Array], sides: Sequence[Side]
) -> tuple[list[Way], Clocks]:
    """JAX's scans and equinox's loop."""
    u, v, *measured = leaves

    def taken(run: Callable[..., Any]) -> list[Any]:
        value, cotangents = _ready(run((u, v), *measured))
        return [value, *cotangents]

    made = in_jax(config, slots, sides)
    sweep, _ = made.pop("forward")
    ways = [
        Way(name, partial(taken, run), partial(taken, run), "jax", None, None, nbytes, None)
        for name, (run, nbytes) in made.items()
    ]
    forward = partial(timed, lambda: _ready(sweep((u, v), *measured)))
    return ways, {"jax sweep": forward}


def measure(
    config: burgers.Config, slots: list[int], repeat: int, sides: Sequence[Side] = ("ckpt",)
) -> list[Row]:
    """Every row, each side run in turns."""
    u, v = initial(config.size)
    leaves = [u, v, *(np.roll(0.9 * x, 3, 0) for x in (u, v))]
    parts = [ours(config, slots, leaves)]
    if "schedules" in sides:
        parts.append(by_schedules(config, slots, leaves))
    if "jax" in sides or "equinox" in sides:
        parts.append(by_jax(config, slots, leaves, sides))
    ways = [way for some, _ in parts for way in some]
    clocks = {name: clock for _, some in parts for name, clock in some.items()}
    clocks |= {way.name: partial(timed, way.run) for way in ways}
    took: dict[str, list[float]] = {name: [] for name in clocks}
    for turn in range(repeat + 1):
        for name, clock in clocks.items():
            seconds = clock()
            if turn:
                took[name].append(seconds)
    mid = {name: median(seconds) for name, seconds in took.items()}
    reference = [np.asarray(x) for x in ways[0].run()]
    largest = max(np.abs(g).max() for g in reference[1:])
    shown = [way for way in ways if way.of != "ckpt" or "ckpt" in sides]
    rows: list[Row] = []
    for way in shown:
        rise = _rise(way.fresh)
        pairs = zip(reference[1:], way.run()[1:], strict=True)
        error = max(float(np.abs(a - np.asarray(b)).max()) for a, b in pairs) / largest
        seconds, ideal = mid[way.name], None
        if way.slots is not None:
            evaluations = forward_steps(config.steps, way.slots) + 1
            ideal = evaluations * mid[f"{way.of} step"] + config.steps * mid[f"{way.of} back"]
        rows.append(
            Row(
                way.name,
                way.evaluations,
                way.beyond_bytes,
                way.planned_bytes,
                rise,
                seconds,
                seconds / mid[f"{way.of} sweep"],
                ideal,
                None if ideal is None else seconds / ideal,
                error,
            )
        )
    return rows


def _rise(run: Callable[[], Any]) -> int | None:
    """Bytes by which the high-water mark rises; what the process holds unused is given back."""
    if not CLEAR.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return rise_during(run)


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one run."""
    began = time.process_time()
    run()
    return time.process_time() - began


def _ready(result: Any) -> Any:
    import jax

    return jax.block_until_ready(result)


def table_of(rows: list[Row], state: int) -> Table:
    """The rows for people; memory in states."""
    table = Table(title="one gradient, there and back; memory in states")
    table.add_column("system", no_wrap=True)
    columns = ("evaluations", "states beyond", "high water", "seconds", "/ forward", "model")
    for name in (*columns, "/ model", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in rows:
        table.add_row(
            r.system,
            "" if r.evaluations is None else f"{r.evaluations}",
            f"{r.beyond_bytes / state:.1f}",
            "" if r.rise_bytes is None else f"{r.rise_bytes / state:.1f}",
            f"{r.seconds:.3f}",
            f"{r.over_forward:.2f}",
            "" if r.ideal_seconds is None else f"{r.ideal_seconds:.3f}",
            "" if r.over_ideal is None else f"{r.over_ideal:.2f}",
            f"{r.error:.0e}",
        )
    return table


def sides_of(only: str | None) -> tuple[list[Side], list[str]]:
    """The sides that were asked for and can run, and the packages that are missing.

    Raises:
        CkptError: there is no such side.
    """
    asked = list(get_args(Side)) if only is None else only.split(",")
    for name in asked:
        if name not in get_args(Side):
            known = ", ".join(get_args(Side))
            raise CkptError(f"--only {only}: there is no side {name!r}; sides are {known}")
    needs = {name: PACKAGES.get(name) for name in asked}
    missing = [p for p in needs.values() if p is not None and find_spec(p) is None]
    return [s for s in get_args(Side) if s in asked and needs[s] not in missing], missing


@app.default
def benchmark(
    *,
    size: int = 256,
    steps: int = 1000,
    slots: list[int] | None = None,
    only: str | None = None,
    repeat: int = 3,
    out: Path | None = None,
) -> int:
    """Measure one grid.

    Args:
        size: cells along each axis.
        steps: of the loop.
        slots: states to keep, the initial one included; by default 10, 30 and 100.
        only: sides, with commas between them: ckpt, schedules, jax, equinox; by default all.
        repeat: measured turns; the first one warms up and does not count.
        out: JSON file.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config = burgers.Config(size=size, steps=steps, dtype="float64")
    try:
        sides, missing = sides_of(only)
    except CkptError as error:
        print(error, file=sys.stderr)
        return 2
    rows = measure(config, slots or [10, 30, 100], repeat, sides)
    Console(width=132).print(table_of(rows, 16 * size * size))
    for package in missing:
        print(f"{package} is not installed, and left out")
    if out:
        document = {"machine": machine(), "versions": versions(), "rows": [asdict(r) for r in rows]}
        write_text(out, json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    app()
