"""What patterns bring: one gradient step with blocked kernels for attention and without.

    python -m experiments.patterns_benchmark [CONFIG...]

Per model: the patterns that were recognised, seconds of processor time per step, the arena when
everything is saved, the smallest budget for which a plan is found, and the largest difference of a
gradient relative to its largest element. Steps run in turns, so that both meet the same load.
"""

import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

import ckpt
from ckpt import Budget, Limits, Step
from ckpt.files import write_text
from ckpt.ir.kernel import Blocks
from ckpt.ir.program import Eqn
from experiments.measurement import Prepared, side_by_side, smallest_feasible
from experiments.models.registry import MODELS
from experiments.result import machine, versions
from experiments.schema import load_model
from policies.units import format_bytes

CONFIGS = tuple(
    Path(f"configs/models/{name}.yaml")
    for name in ("gpt", "gpt_long", "gpt_wide", "gpt_vocabulary", "vit_digits")
)

app = App(name="patterns_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Side:
    """One gradient step, with patterns or without.

    Attributes:
        patterns: how many lets have blocked kernels, by name.
        arena_bytes: when everything is saved.
        peak_bytes: the same with inputs and outputs.
        smallest_bytes: the smallest budget for which a plan was found; None if not asked for.
        predicted_seconds: of a step, by the costs that the planner sees.
        cpu_seconds: of a step, the median.
    """

    patterns: dict[str, int]
    arena_bytes: int
    peak_bytes: int
    smallest_bytes: int | None
    predicted_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One model; `difference` is relative to the largest element of each gradient."""

    model: str
    plain: Side
    blocked: Side
    difference: float


def row_of(file: Path, repeat: int, work: int | None) -> Row:
    """Measure one model; `work` limits the search for the smallest budget, None leaves it out."""
    config = load_model(file)
    model = MODELS[config.model]
    args = (model.init(config, 0), *model.batch(config, 0))
    loss = model.make_loss(config)

    def step(budget: Budget | None, *, patterns: bool) -> Step:
        limits = Limits(work=work) if work else None
        policy = "auto" if budget else "save_all"
        return ckpt.value_and_grad(
            loss, budget=budget, policy=policy, patterns=patterns, limits=limits
        )

    prepared = [Prepared.of(step(None, patterns=patterns), *args) for patterns in (False, True)]
    seconds = side_by_side(*prepared, repeat, Prepared.run_on_processor)
    sides: list[Side] = []
    for patterns, made, took in zip((False, True), prepared, seconds, strict=True):
        plan = made.executable.plan
        smallest = None
        if work:
            found = smallest_feasible(lambda b, p=patterns: step(b, patterns=p), args)
            smallest = found.plan.peak_bytes
        program = made.executable.program
        runs = [program.eqns[let] for let in sorted({run.let for run in plan.steps})]
        sides.append(
            Side(
                patterns=dict(Counter(eqn.op.name for eqn in runs if is_blocked(eqn))),
                arena_bytes=plan.arena_bytes,
                peak_bytes=plan.peak_bytes,
                smallest_bytes=smallest,
                predicted_seconds=plan.seconds,
                cpu_seconds=took,
            )
        )
    return Row(file.stem, *sides, difference_of(*prepared))


def is_blocked(eqn: Eqn) -> bool:
    """Whether a let runs as loops around other kernels."""
    return isinstance(eqn.op.lower(*(x.type.plain() for x in eqn.ins)), Blocks)


def difference_of(left: Prepared, right: Prepared) -> float:
    """The largest difference of two results, relative to the largest element of each."""
    return max(
        float(np.max(np.abs(x - y)) / max(float(np.max(np.abs(x))), 1e-30))
        for x, y in zip(left.results, right.results, strict=True)
    )


def table_of(rows: list[Row]) -> Table:
    """The rows for people, without -> with patterns."""
    table = Table(title="one gradient step without -> with patterns")
    for name in ("model", "patterns", "cpu ms", "time", "arena", "smallest budget", "difference"):
        table.add_column(name, no_wrap=True, justify="left" if name == "model" else "right")
    for row in rows:
        a, b = row.plain, row.blocked
        smallest = ""
        if a.smallest_bytes is not None and b.smallest_bytes is not None:
            smallest = f"{format_bytes(a.smallest_bytes)} -> {format_bytes(b.smallest_bytes)}"
        table.add_row(
            row.model,
            ", ".join(f"{n} {name}" for name, n in sorted(b.patterns.items())),
            f"{1e3 * a.cpu_seconds:.1f} -> {1e3 * b.cpu_seconds:.1f}",
            f"{b.cpu_seconds / a.cpu_seconds:.3f}",
            f"{format_bytes(a.arena_bytes)} -> {format_bytes(b.arena_bytes)}",
            smallest,
            f"{row.difference:.1e}",
        )
    return table


@app.default
def benchmark(
    *configs: Path, out: Path = Path("runs/patterns.json"), repeat: int = 9, work: int | None = 2000
) -> int:
    """Measure, print a table and write JSON.

    Args:
        configs: model configurations; by default those with attention.
        out: the JSON file.
        repeat: how often steps are timed, in turns.
        work: how much work a policy may do for one plan of the smallest budget; 0 leaves the
            smallest budget out.

    Returns:
        0, or 1 when gradients differ by more than rounding, or nothing was recognised.
    """
    console = Console()
    out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for file in configs or CONFIGS:
        rows.append(row_of(file, repeat, work or None))
        console.print(f"{file.stem} done", highlight=False)
    Console(width=max(console.width, 170)).print(table_of(rows))
    report = {"rows": [asdict(r) for r in rows], "versions": versions(), "machine": machine()}
    write_text(out, json.dumps(report, indent=2) + "\n")
    return 0 if all(r.blocked.patterns and r.difference < _ROUNDING for r in rows) else 1


_ROUNDING = 1e-4

if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
