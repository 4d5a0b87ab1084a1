"""What mixed precision brings: one gradient step with layers in bf16 against the same in f32.

    python -m experiments.halves_benchmark [CONFIG...]

Weights and the loss are f32 in both; in the second, weights and examples are cast before the
layers. Per model: bytes beyond the inputs when everything is saved and in the smallest plan that is
found, seconds of processor time per step, in turns, and the largest difference of a gradient
relative to its largest element.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import optree
from cyclopts import App
from rich.console import Console
from rich.table import Table

import ckpt
from ckpt import Limits
from ckpt.files import write_text
from experiments.measurement import Prepared, side_by_side, smallest_feasible
from experiments.models.model import Tree
from experiments.models.registry import MODELS
from experiments.patterns_benchmark import difference_of
from experiments.result import machine, versions
from experiments.schema import load_model
from policies.units import format_bytes

CONFIGS = tuple(Path(f"configs/models/{name}.yaml") for name in ("mlp", "gpt"))
HALVES = {"bf16": ml_dtypes.bfloat16, "f16": np.float16}
Half = Literal["bf16", "f16"]

app = App(name="halves_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Side:
    """One gradient step, its layers in one dtype.

    Attributes:
        saved_bytes: beyond the inputs, when everything is saved.
        smallest_bytes: beyond the inputs, of the smallest plan found; None if not asked for.
        cpu_seconds: of a step when everything is saved, the median.
    """

    saved_bytes: int
    smallest_bytes: int | None
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One model; `difference` is relative to the largest element of each gradient."""

    model: str
    full: Side
    mixed: Side
    difference: float


def mixed(loss: Callable[..., Any], half: Any) -> Callable[..., Any]:
    """The loss with all floats of its arguments cast to a half first, and itself f32."""

    def cast(x: Any) -> Any:
        return x.astype(half) if np.issubdtype(x.dtype, np.floating) else x

    def of_halves(*args: Tree) -> Any:
        return loss(*optree.tree_map(cast, args)).astype(np.float32)

    return of_halves


def row_of(file: Path, half: Half, repeat: int, work: int | None) -> Row:
    """Measure one model; `work` limits the search for the smallest plan, None leaves it out."""
    config = load_model(file)
    model = MODELS[config.model]
    args = (model.init(config, 0), *model.batch(config, 0))
    losses = [model.make_loss(config)]
    losses.append(mixed(losses[0], HALVES[half]))
    prepared = [Prepared.of(ckpt.value_and_grad(f, policy="save_all"), *args) for f in losses]
    seconds = side_by_side(*prepared, repeat, Prepared.run_on_processor)
    sides: list[Side] = []
    for f, made, took in zip(losses, prepared, seconds, strict=True):
        smallest = None
        if work:
            limits = Limits(work=work)
            found = smallest_feasible(
                lambda b, f=f, limits=limits: ckpt.value_and_grad(f, budget=b, limits=limits), args
            )
            smallest = found.plan.peak_bytes - found.plan.input_bytes
        plan = made.executable.plan
        sides.append(Side(plan.peak_bytes - plan.input_bytes, smallest, took))
    return Row(file.stem, *sides, difference_of(*prepared))


def table_of(rows: list[Row], half: Half) -> Table:
    """The rows for people, f32 -> mixed."""
    table = Table(title=f"one gradient step in f32 -> with layers in {half}")
    for name in ("model", "beyond the inputs", "smallest", "cpu ms", "difference"):
        table.add_column(name, no_wrap=True, justify="left" if name == "model" else "right")
    for row in rows:
        a, b = row.full, row.mixed
        smallest = ""
        if a.smallest_bytes is not None and b.smallest_bytes is not None:
            smallest = f"{format_bytes(a.smallest_bytes)} -> {format_bytes(b.smallest_bytes)}"
        table.add_row(
            row.model,
            f"{format_bytes(a.saved_bytes)} -> {format_bytes(b.saved_bytes)}",
            smallest,
            f"{1e3 * a.cpu_seconds:.1f} -> {1e3 * b.cpu_seconds:.1f}",
            f"{row.difference:.1e}",
        )
    return table


@app.default
def benchmark(
    *configs: Path,
    half: Half = "bf16",
    out: Path = Path("runs/halves.json"),
    repeat: int = 9,
    work: int = 2000,
) -> int:
    """Measure, print a table and write JSON.

    Args:
        configs: model configurations; by default an MLP and a GPT.
        half: the dtype of the layers.
        out: the JSON file.
        repeat: how often steps are timed, in turns.
        work: how much work a policy may do for one plan; 0 leaves the smallest plans out.

    Returns:
        0, or 1 when gradients differ by more than the half explains.
    """
    console = Console()
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = [row_of(file, half, repeat, work or None) for file in configs or CONFIGS]
    Console(width=max(console.width, 120)).print(table_of(rows, half))
    report = {"rows": [asdict(r) for r in rows], "versions": versions(), "machine": machine()}
    write_text(out, json.dumps(report, indent=2) + "\n")
    return 0 if all(r.difference < _ROUNDING for r in rows) else 1


_ROUNDING = 0.2

if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
