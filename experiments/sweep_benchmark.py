"""What sweeping costs beside the points: how busy the processors are, and how fast a sweep resumes.

    python -m experiments.sweep_benchmark [--points 200] [--jobs 2]

A sweep of so many small points is started as a user starts it. How busy the processors are is what
the kernel counts of all of them (Linux), start-up included, which a sweep of one point shows alone.
What a point costs beside its own work is the life of its process less the planning. Then a finished
sweep of a thousand points is started again, which has nothing to do. Other work on the machine
spoils all figures: measure on a quiet one.
"""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cyclopts import App
from rich.console import Console

from experiments.sweep.expand import load_experiment
from experiments.sweep.store import open_store, read_run

FINISHED = 1000
"""Points of the finished sweep that is resumed."""

app = App(name="sweep_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Measured:
    """A process from start to end.

    Attributes:
        wall_seconds: how long it took.
        cpu_seconds: that all processors of the machine were busy meanwhile, added up.
    """

    wall_seconds: float
    cpu_seconds: float


def experiment_text(points: int) -> str:
    """An experiment of so many small points: plans of a chain, a seed each."""
    return (
        "name: busy\nquestion: How busy are the processors?\nkind: plan\n"
        "graph: {family: chain, length: 24}\nbudget: {fraction: 0.5}\nwork: 500\n"
        f"sweep:\n  seed: {list(range(points))}\n"
    )


def measure(command: list[str]) -> Measured:
    """Run a command and wait for it.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before, began = _busy_seconds(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return Measured(time.perf_counter() - began, _busy_seconds() - before)


def _busy_seconds() -> float:
    """User, nice and system time of all processors since the machine started."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split(maxsplit=4)[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def sweep_command(config: Path, folder: Path, jobs: int) -> list[str]:
    """How a user starts it."""
    return ["ckpt", "sweep", str(config), "--out", str(folder), "--jobs", str(jobs)]


def finish(config: Path, folder: Path) -> None:
    """Write a finished run folder of an experiment without running it."""
    experiment = load_experiment(config)
    with open_store(folder, experiment) as store:
        for point in experiment.points():
            record = {"id": point.id, "config": point.config, "changes": point.changes}
            result = {"status": "feasible", "overhead_percent": 1.0}
            store.append(record | {"status": "ok", "result": result, "seconds": 0.1})


@app.default
def main(*, points: int = 200, jobs: int | None = None, json_out: Path | None = None) -> None:
    """Print what was measured.

    Args:
        points: of the sweep whose processors are watched.
        jobs: at once; by default as many as there are processors.
        json_out: a file for the figures.
    """
    jobs = jobs or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, many = folder / "busy.yaml", folder / "many.yaml"
        config.write_text(experiment_text(points), encoding="utf-8")
        many.write_text(experiment_text(FINISHED), encoding="utf-8")
        one = folder / "one.yaml"
        one.write_text(experiment_text(1), encoding="utf-8")
        start = measure(sweep_command(one, folder / "one", jobs))
        whole = measure(sweep_command(config, folder / "busy", jobs))
        _, records = read_run(folder / "busy")
        finish(many, folder / "many")
        resumed = measure(sweep_command(many, folder / "many", jobs))
    own = [record["result"]["solve_seconds"] for record in records]
    lives = [record["seconds"] for record in records]
    figures = {
        "points": points,
        "jobs": jobs,
        "wall_seconds": whole.wall_seconds,
        "one_point_seconds": start.wall_seconds,
        "busy_percent": 100 * whole.cpu_seconds / ((os.cpu_count() or 1) * whole.wall_seconds),
        "overhead_seconds_per_point": (sum(lives) - sum(own)) / points,
        "resume_seconds": resumed.wall_seconds,
    }
    console = Console()
    for key, value in figures.items():
        console.print(
            f"{key:>26}  {value:.3f}" if isinstance(value, float) else f"{key:>26}  {value}"
        )
    if json_out is not None:
        json_out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
