"""What fusion brings: one gradient step of every model with it and without.

    python -m experiments.fusion_benchmark [CONFIG...]

Per model: lets that run, distinct kernels, bytes of traffic, the peak when everything is saved,
the smallest budget for which a plan is found, seconds of processor time per step, and seconds that
the pass takes. Steps run in turns, so that both meet the same load; the results must have the same
bits.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.table import Table

import ckpt
from ckpt import Budget, Limits, Step
from ckpt.files import write_text
from ckpt.ir.program import Program
from ckpt.simplify.fuse import fuse
from experiments.measurement import Prepared, identical, side_by_side, smallest_feasible
from experiments.models.registry import MODELS
from experiments.result import machine, versions
from experiments.schema import load_model
from policies.units import format_bytes

CONFIGS = tuple(
    Path(f"configs/models/{name}.yaml")
    for name in ("mlp", "gpt", "resnet", "vit_digits", "lstm", "unet", "heat")
)

app = App(name="fusion_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Side:
    """One gradient step, with fusion or without.

    Attributes:
        lets: that run, each once.
        kernels: distinct ones.
        traffic_bytes: read and written by all lets together.
        peak_bytes: when everything is saved.
        smallest_bytes: the smallest budget for which a plan was found; None if not asked for.
        predicted_seconds: of a step, by the costs that the planner sees.
        cpu_seconds: of a step, the median.
    """

    lets: int
    kernels: int
    traffic_bytes: int
    peak_bytes: int
    smallest_bytes: int | None
    predicted_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One model. `pass_seconds` is the processor time of the pass itself."""

    model: str
    plain: Side
    fused: Side
    pass_seconds: float
    identical: bool

    @property
    def better(self) -> bool:
        """Whether fusion costs no memory, changes no bit, and does not lengthen the step."""
        return (
            self.identical
            and self.fused.peak_bytes <= self.plain.peak_bytes
            and self.fused.predicted_seconds <= self.plain.predicted_seconds
        )


def row_of(file: Path, repeat: int, work: int | None) -> Row:
    """Measure one model; `work` limits the search for the smallest budget, None leaves it out."""
    config = load_model(file)
    model = MODELS[config.model]
    args = (model.init(config, 0), *model.batch(config, 0))
    loss = model.make_loss(config)

    def step(budget: Budget | None, *, fusion: bool) -> Step:
        limits = Limits(work=work) if work else None
        policy = "auto" if budget else "save_all"
        return ckpt.value_and_grad(loss, budget=budget, policy=policy, fusion=fusion, limits=limits)

    prepared = [Prepared.of(step(None, fusion=fusion), *args) for fusion in (False, True)]
    seconds = side_by_side(*prepared, repeat, Prepared.run_on_processor)
    sides: list[Side] = []
    for fusion, made, took in zip((False, True), prepared, seconds, strict=True):
        plan = made.executable.plan
        smallest = None
        if work:
            found = smallest_feasible(lambda b, f=fusion: step(b, fusion=f), args)
            smallest = found.plan.peak_bytes
        sides.append(
            Side(
                lets=len({run.let for run in plan.steps}),
                kernels=made.executable.n_kernels,
                traffic_bytes=traffic_of(made.executable.program, {r.let for r in plan.steps}),
                peak_bytes=plan.peak_bytes,
                smallest_bytes=smallest,
                predicted_seconds=plan.seconds,
                cpu_seconds=took,
            )
        )
    began = time.process_time()
    fuse(prepared[0].executable.program)
    passed = time.process_time() - began
    same = identical(prepared[0].results, prepared[1].results)
    return Row(file.stem, sides[0], sides[1], passed, same)


def traffic_of(program: Program, lets: set[int]) -> int:
    """Bytes that these lets read and write."""
    costs = [
        program.eqns[let].op.cost(*(x.type.plain() for x in program.eqns[let].ins)) for let in lets
    ]
    return sum(cost.read_bytes + cost.written_bytes for cost in costs)


def table_of(rows: list[Row]) -> Table:
    """The rows for people, before -> after."""
    table = Table(title="one gradient step without -> with fusion")
    table.add_column("model", no_wrap=True)
    for name in (
        *("lets", "kernels", "traffic", "save-all peak", "smallest budget"),
        *("predicted ms", "cpu ms", "pass ms"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bits")
    for row in rows:
        a, b = row.plain, row.fused

        def pair(x: int | None, y: int | None) -> str:
            return "" if x is None or y is None else f"{format_bytes(x)} -> {format_bytes(y)}"

        table.add_row(
            row.model,
            f"{a.lets} -> {b.lets}",
            f"{a.kernels} -> {b.kernels}",
            pair(a.traffic_bytes, b.traffic_bytes),
            pair(a.peak_bytes, b.peak_bytes),
            pair(a.smallest_bytes, b.smallest_bytes),
            f"{1e3 * a.predicted_seconds:.1f} -> {1e3 * b.predicted_seconds:.1f}",
            f"{1e3 * a.cpu_seconds:.1f} -> {1e3 * b.cpu_seconds:.1f}",
            f"{1e3 * row.pass_seconds:.0f}",
            "identical" if row.identical else "DIFFER",
        )
    return table


@app.default
def benchmark(
    *configs: Path, out: Path = Path("runs/fusion.json"), repeat: int = 9, work: int | None = 2000
) -> int:
    """Measure, print a table and write JSON.

    Args:
        configs: model configurations; by default one of each model.
        out: the JSON file.
        repeat: how often steps are timed, in turns.
        work: how much work a policy may do for one plan of the smallest budget; 0 leaves the
            smallest budget out.

    Returns:
        0, or 1 when fusion raised a peak, changed a bit, or lengthened a predicted step.
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
    return 0 if all(r.better for r in rows) else 1


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
