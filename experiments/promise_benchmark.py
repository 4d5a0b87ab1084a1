"""The promise, measured: gradient steps under 80, 60 and 40 % of the save-all peak, and the floor.

    python -m experiments.promise_benchmark

For every model and budget: what was allowed, planned and measured, what it costs in time, and
whether the gradient has the same bits as with everything saved. Every row is checked again by
the high-water mark of a fresh process (see `high_water`).
"""

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cyclopts import App
from rich.console import Console
from rich.table import Table

import ckpt
from ckpt import Budget, BudgetError, Limits, Step
from ckpt.files import write_text
from experiments.measurement import Prepared, identical, side_by_side, smallest_feasible
from experiments.models.registry import MODELS
from experiments.result import machine, versions
from experiments.schema import load_model
from policies.units import format_bytes

CONFIGS = (Path("configs/models/gpt.yaml"), Path("configs/models/resnet.yaml"))
FRACTIONS = (0.8, 0.6, 0.4)
HEADROOM = 1.05
"""Where a fraction cannot be met, this many times the smallest feasible budget is taken."""

_WIDTH = 130

app = App(name="promise_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Row:
    """One model under one budget. Bytes of one gradient step; overheads are fractions.

    Attributes:
        model: the name of its configuration.
        asked: the budget in words.
        budget_bytes: the budget.
        planned_bytes: inputs + outputs + arena of the plan.
        arena_bytes: of it, the arena.
        measured_bytes: the same, with the touched part of the arena.
        high_water_bytes: inputs, and what a fresh process was seen to need beyond them.
        predicted_overhead, measured_overhead: time against saving everything.
        seconds, save_all_seconds: medians of steps run in turns.
        gradient_identical: value and gradient have the same bits as with everything saved.
        status: what is known about the quality of the plan.
        note: why another budget was taken than the one in the column's name, or "".
    """

    model: str
    asked: str
    budget_bytes: int
    planned_bytes: int
    arena_bytes: int
    measured_bytes: int
    high_water_bytes: int
    predicted_overhead: float
    measured_overhead: float
    seconds: float
    save_all_seconds: float
    gradient_identical: bool
    status: str
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        seen = max(self.planned_bytes, self.measured_bytes)
        return seen <= self.budget_bytes and self.gradient_identical


@dataclass(frozen=True, slots=True)
class _Subject:
    """A model with the arguments of its loss, and its step with everything saved."""

    file: Path
    loss: Any
    args: tuple[Any, ...]
    reference: Prepared
    limits: Limits

    @staticmethod
    def of(file: Path, limits: Limits) -> "_Subject":
        config = load_model(file)
        model = MODELS[config.model]
        args = (model.init(config, 0), *model.batch(config, 0))
        loss = model.make_loss(config)
        saved = ckpt.value_and_grad(loss, policy="save_all")
        return _Subject(file, loss, args, Prepared.of(saved, *args), limits)

    @property
    def save_all_bytes(self) -> int:
        return self.reference.executable.plan.peak_bytes

    def step(self, budget: Budget) -> Step:
        return ckpt.value_and_grad(self.loss, budget=budget, limits=self.limits)

    def row(self, asked: str, step: Step, repeat: int, note: str = "") -> Row:
        """Run a step that has a plan, and measure."""
        prepared = Prepared.of(step, *self.args)
        plan = prepared.executable.plan
        seconds, saved_seconds = side_by_side(prepared, self.reference, repeat)
        same = identical(prepared.results, self.reference.results)
        with tempfile.TemporaryDirectory() as folder:
            plan_file = Path(folder) / "plan.json"
            plan_file.write_text(plan.to_json(), encoding="utf-8")
            rise = _fresh_process(self.file, plan_file)
        return Row(
            model=self.file.stem,
            asked=asked,
            budget_bytes=plan.peak_bytes if plan.budget_bytes is None else plan.budget_bytes,
            planned_bytes=plan.peak_bytes,
            arena_bytes=plan.arena_bytes,
            measured_bytes=prepared.peak_bytes(),
            high_water_bytes=plan.input_bytes + rise,
            predicted_overhead=plan.overhead,
            measured_overhead=seconds / saved_seconds - 1.0,
            seconds=seconds,
            save_all_seconds=saved_seconds,
            gradient_identical=same,
            status=plan.decision.status,
            note=note,
        )


def rows_of(file: Path, limits: Limits, repeat: int, console: Console) -> list[Row]:
    """Every budget for one model."""
    with console.status(f"{file.stem}: everything saved") as status:
        subject = _Subject.of(file, limits)
        status.update(f"{file.stem}: the smallest feasible budget")
        floor = smallest_feasible(subject.step, subject.args)
        rows = []
        for fraction in FRACTIONS:
            status.update(f"{file.stem}: {fraction:.0%}")
            asked, note = f"{fraction:.0%}", ""
            budget = Budget(bytes=math.ceil(fraction * subject.save_all_bytes))
            step = subject.step(budget)
            try:
                step.plan_for(*subject.args)
            except BudgetError:
                fixed = floor.plan.input_bytes + floor.plan.output_bytes
                assert budget.bytes is not None
                what = (
                    f"inputs and outputs alone take {format_bytes(fixed)}"
                    if fixed > budget.bytes
                    else f"the smallest feasible budget is {format_bytes(floor.plan.peak_bytes)}"
                )
                note = f"{asked} is {format_bytes(budget.bytes)}, and {what}"
                asked = f"floor + {HEADROOM - 1:.0%}"
                step = subject.step(Budget(bytes=math.ceil(HEADROOM * floor.plan.peak_bytes)))
            rows.append(subject.row(asked, step, repeat, note))
            _say(rows[-1], console)
        status.update(f"{file.stem}: the floor")
        rows.append(subject.row("floor", floor.step, repeat))
        _say(rows[-1], console)
    return rows


def _say(row: Row, console: Console) -> None:
    """One line as soon as a row is there: all of them take minutes."""
    console.print(
        f"{row.model}, {row.asked}: {format_bytes(row.measured_bytes)} measured of "
        f"{format_bytes(row.budget_bytes)}, {row.measured_overhead:+.1%} time",
        highlight=False,
        soft_wrap=True,
    )


def _fresh_process(config: Path, plan: Path) -> int:
    command = [sys.executable, "-m", "experiments.high_water", str(config), str(plan)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"the fresh process failed:\n{done.stderr}")
    return int(json.loads(done.stdout)["measured_bytes"])


def table_of(rows: list[Row]) -> Table:
    """The rows for people."""
    table = Table(title="one gradient step: what was allowed, planned and seen")
    for name in ("model", "budget"):
        table.add_column(name, no_wrap=True)
    for name in (
        *("bytes", "planned", "arena", "measured", "high water"),
        *("predicted", "measured", "step"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("gradient")
    for r in rows:
        sizes = (r.budget_bytes, r.planned_bytes, r.arena_bytes, r.measured_bytes)
        table.add_row(
            r.model,
            r.asked,
            *map(format_bytes, (*sizes, r.high_water_bytes)),
            f"{r.predicted_overhead:+.1%}",
            f"{r.measured_overhead:+.1%}",
            f"{1e3 * r.seconds:.1f} ms",
            "identical" if r.gradient_identical else "DIFFERS",
        )
    return table


@app.default
def benchmark(
    *configs: Path, out: Path = Path("runs/promise.json"), repeat: int = 7, work: int = 20_000
) -> int:
    """Measure, print a table and write JSON.

    Args:
        configs: model configurations; by default the GPT and the ResNet.
        out: the JSON file.
        repeat: how often steps are timed, in turns with saving everything.
        work: how much work a policy may do for one plan, in the units of `ckpt.Limits`.

    Returns:
        0, or 1 when a promise was broken.
    """
    console = Console()
    out.parent.mkdir(parents=True, exist_ok=True)
    limits = Limits(work=work)
    rows = [r for file in configs or CONFIGS for r in rows_of(file, limits, repeat, console)]
    wide = Console(width=max(console.width, _WIDTH))  # a table that is cut off says nothing
    wide.print(table_of(rows))
    for note in dict.fromkeys(f"{r.model}: {r.note}" for r in rows if r.note):
        console.print(note, highlight=False, soft_wrap=True)
    report = {
        "rows": [{**asdict(r), "kept": r.kept} for r in rows],
        "versions": versions(),
        "machine": machine(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return 0 if all(r.kept for r in rows) else 1


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
