"""A recurrent network over a thousand steps: its gradient in a tenth of the memory, beside JAX.

    python -m experiments.recurrent_benchmark [--hidden 256] [--steps 1000] [--batch 32]

The gradient of the loss of an LSTM with respect to its weights, in f32: with everything kept that a
step leaves behind, and in shares of that memory; `jax.jit(jax.value_and_grad(...))` of the same
network as a scan, plain, with a checkpointed body, and as about the root of the steps in scans of
about as many with checkpoints; and ours in the memory that the first and the last of these take.
Everything runs in turns in one process, on one core; medians of processor time are reported. Memory
is the arena, as planned, and the compiler's own figure for temporaries; inputs and gradients are
beside both.
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
import optree
from cyclopts import App
from rich.console import Console
from rich.table import Table

import ckpt
from ckpt.errors import BudgetError
from ckpt.ops.loop_reverse import ScanReverse
from experiments.models import lstm
from experiments.result import machine, versions
from policies.units import format_bytes

app = App(name="recurrent_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to take the gradient.

    Attributes:
        system: what takes it.
        arena_bytes: memory beside inputs and gradients.
        again: steps made again; None where nobody counts.
        seconds: of processor time of one gradient, the median.
        over_plain: seconds over those of the system's own plain scan.
        error: largest difference from our plain gradient, relative to its largest element.
        same_bits: whether all bits are those of our plain gradient.
    """

    system: str
    arena_bytes: int
    again: int | None
    seconds: float
    over_plain: float
    error: float
    same_bits: bool


@dataclass(frozen=True, slots=True)
class Side:
    """A system: its gradient as leaves, what it needs, and what it makes again."""

    run: Callable[[], list[Any]]
    arena_bytes: int
    again: int | None


def ours(
    config: lstm.Config, args: tuple[Any, ...], shares: list[float], theirs: dict[str, int]
) -> dict[str, Side]:
    """The gradient with everything kept, in shares of that memory, and in what others take.

    Args:
        config: sizes.
        args: of the loss.
        shares: of the memory in which everything is kept.
        theirs: bytes that others take, by what that is called; what no plan fits is said and left
            out.
    """
    loss = lstm.make_loss(config)
    plain = ckpt.value_and_grad(loss).plan_for(*args)
    ends = plain.peak_bytes - plain.arena_bytes
    sides: dict[str, Side] = {}
    budgets: dict[str, int | None] = {"plain": None}
    for share in shares:
        budgets[f"{share:.0%} of that"] = int(share * plain.arena_bytes)
    for name, budget in (budgets | theirs).items():
        total = None if budget is None else ends + budget
        step = ckpt.value_and_grad(loss, budget=total)
        try:
            made = step.executable_for(*args)
        except BudgetError as error:
            if name not in theirs:
                raise
            least = format_bytes((error.min_bytes or error.lower_bound_bytes or 0) - ends)
            print(f"{name}: nothing fits {format_bytes(theirs[name])}; {least} would do")
            continue
        again = sum(e.op.again for e in made.program.eqns if isinstance(e.op, ScanReverse))
        run = partial(_leaves, step, args)
        sides[f"ckpt, {name}"] = Side(run, made.plan.arena_bytes, again)
    return sides


def _leaves(step: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
    return optree.tree_leaves(step(*args))


def in_jax(config: lstm.Config, args: tuple[Any, ...]) -> dict[str, Side]:
    """The same network as a scan of JAX."""
    import jax
    import jax.numpy as jnp

    def cell(params: Any, hidden: Any, memory: Any, x: Any) -> tuple[Any, Any]:
        gates = x @ params["input"] + hidden @ params["state"] + params["bias"]
        into, forget, candidate, out = jnp.split(gates, 4, axis=-1)
        sigmoid: Any = lambda a: 0.5 * (jnp.tanh(0.5 * a) + 1.0)  # noqa: E731
        memory = sigmoid(forget + 1.0) * memory + sigmoid(into) * jnp.tanh(candidate)
        return sigmoid(out) * jnp.tanh(memory), memory

    def loss(params: Any, xs: Any, labels: Any, wrap: Any, outer: int = 1) -> Any:
        zeros = jnp.zeros((config.batch, config.hidden), config.dtype)
        body = wrap(lambda c, x: (cell(params, *c, x), None))
        if outer > 1:
            inner, whole = body, xs.reshape(outer, -1, *xs.shape[1:])
            body = jax.checkpoint(lambda c, some: jax.lax.scan(inner, c, some))
            xs = whole
        (hidden, _), _ = jax.lax.scan(body, (zeros, zeros), xs)
        scores = jax.nn.log_softmax(hidden @ params["head"]["w"] + params["head"]["b"])
        return -jnp.mean(scores[jnp.arange(config.batch), labels])

    sides: dict[str, Side] = {}
    n = config.steps
    root = next(k for k in range(int(n**0.5), 0, -1) if n % k == 0)
    forms = {
        "plain": partial(loss, wrap=lambda f: f),
        "body checkpointed": partial(loss, wrap=jax.checkpoint),
        f"{root} x {n // root}": partial(loss, wrap=lambda f: f, outer=root),
    }
    for name, form in forms.items():
        gradient = jax.jit(jax.value_and_grad(form))
        compiled = gradient.lower(*args).compile()

        def run(compiled: Any = compiled) -> list[Any]:
            return optree.tree_leaves(jax.block_until_ready(compiled(*args)))

        temporary = compiled.memory_analysis().temp_size_in_bytes
        sides[f"JAX, {name}"] = Side(run, temporary, None)
    return sides


def measure(config: lstm.Config, shares: list[float], repeat: int) -> list[Row]:
    """Every row, all sides run in turns."""
    args = (lstm.MODEL.init(config, 0), *lstm.MODEL.batch(config, 1))
    others = in_jax(config, args) if find_spec("jax") is not None else {}
    theirs = {
        f"in the memory of {name}": side.arena_bytes
        for name, side in others.items()
        if name != "JAX, body checkpointed"
    }
    sides = ours(config, args, shares, theirs) | others
    took: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, list[Any]] = {}
    for turn in range(repeat + 1):
        for name, side in sides.items():
            began = time.process_time()
            results[name] = side.run()
            if turn:
                took[name].append(time.process_time() - began)
    mid = {name: median(seconds) for name, seconds in took.items()}
    reference = [np.asarray(x) for x in results["ckpt, plain"]]
    largest = max(float(np.abs(x).max()) for x in reference[1:])
    rows: list[Row] = []
    for name, side in sides.items():
        leaves = [np.asarray(x) for x in results[name]]
        pairs = list(zip(reference, leaves, strict=True))
        rows.append(
            Row(
                name,
                side.arena_bytes,
                side.again,
                mid[name],
                mid[name] / mid[f"{name.split(',')[0]}, plain"],
                max(float(np.abs(a - b).max()) for a, b in pairs) / largest,
                all(a.tobytes() == b.tobytes() for a, b in pairs),
            )
        )
    return rows


def table_of(rows: list[Row]) -> Table:
    """The rows for people."""
    table = Table(title="one gradient of a recurrent network")
    table.add_column("system", no_wrap=True)
    for name in ("memory", "steps again", "seconds", "/ plain", "difference", "bits"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in rows:
        table.add_row(
            r.system,
            format_bytes(r.arena_bytes),
            "" if r.again is None else f"{r.again}",
            f"{r.seconds:.3f}",
            f"{r.over_plain:.2f}",
            f"{r.error:.0e}",
            "the same" if r.same_bits else "",
        )
    return table


@app.default
def benchmark(
    *,
    hidden: int = 256,
    features: int = 64,
    steps: int = 1000,
    batch: int = 32,
    shares: list[float] | None = None,
    repeat: int = 3,
    out: Path | None = None,
) -> int:
    """Measure one network.

    Args:
        hidden: width of the state.
        features: numbers per step of the sequence.
        steps: of the loop.
        batch: sequences at once.
        shares: of the memory in which everything is kept; by default a tenth.
        repeat: measured turns; the first one warms up and does not count.
        out: JSON file.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config = lstm.Config(features=features, hidden=hidden, steps=steps, batch=batch)
    rows = measure(config, shares or [0.1], repeat)
    Console(width=120).print(table_of(rows))
    if find_spec("jax") is None:
        print("jax is not installed, and left out")
    if out:
        document = {"machine": machine(), "versions": versions(), "rows": [asdict(r) for r in rows]}
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    app()
