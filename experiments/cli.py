"""This package's commands, found by the entry-point group `ckpt.commands`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def run(config: Path, /, *, out: Path | None = None) -> int:
    """Run one job from a YAML file: train under a byte budget and write a run folder.

    The folder holds result.json, plan.json, memory.png and loss.png, and appears whole or not at
    all.

    Args:
        config: the YAML file of the job, such as configs/quickstart.yaml.
        out: the run folder; by default runs/NAME, or the next free name.

    Returns:
        0, or 1 when the test accuracy is below the one that the job asks for.
    """
    from experiments.run import run_job

    return run_job(config, out)


def bench(
    *names: str,
    threads: int | None = None,
    repeat: int = 9,
    torch_compile: bool = False,
    json: bool = False,
    out: Path = Path("runs/bench"),
) -> int:
    """Gradient steps of ours, of JAX and of PyTorch, side by side: seconds and honest memory.

    Every workload is timed in one process on the same cores, in turns; memory, first call and
    compilation are measured in processes of their own. Needs the extra `bench`.

    Args:
        names: workloads; by default the whole suite.
        threads: of everyone; by default as many as the process has cores.
        repeat: turns of each.
        torch_compile: also time PyTorch's compiler, which takes a minute per workload.
        json: print what was measured as JSON, not as a table.
        out: the folder for bench.json and bench.png.

    Returns:
        0, or 1 when gradients do not agree.
    """
    from experiments.bench.command import run_bench

    return run_bench(
        names, threads=threads, repeat=repeat, compiled=torch_compile, as_json=json, out=out
    )


def sweep(
    config: Path,
    /,
    *overrides: str,
    out: Path | None = None,
    jobs: int | None = None,
    dask: str | None = None,
    mlflow: str | None = None,
    retry: bool = False,
    dry_run: bool = False,
    yes: bool = False,
) -> int:
    """Run an experiment from a YAML file, every point in a fresh process; again to go on.

    Results are lines of results.jsonl in the run folder. A finished point never runs twice; what
    fails is kept with its error.

    Args:
        config: the YAML file of the experiment, such as configs/experiments/smoke.yaml.
        overrides: key=value, such as seed=1 or budget.fraction=[0.3,0.5]; for an axis, a list
            replaces its values and anything else fixes it.
        out: the run folder; by default runs/NAME.
        jobs: points at once; by default as many as there are processors.
        dask: local for a Dask cluster on this machine, or tcp://host:port of a running scheduler.
        mlflow: log runs to this MLflow store besides, such as file:mlruns.
        retry: also run the points that failed.
        dry_run: list the points and what they are expected to take, and run nothing.
        yes: start however many points there are.

    Returns:
        0; 1 if points failed; 130 if it was interrupted.
    """
    from experiments.sweep.run import Options
    from experiments.sweep.run import dry_run as list_points
    from experiments.sweep.run import sweep as run_points

    options = Options(out, jobs, dask, mlflow, retry, yes)
    if dry_run:
        return list_points(config, overrides, options)
    return run_points(config, overrides, options)


def report(
    runs: Annotated[tuple[Path, ...], Parameter(negative=())] = (Path("runs"),),
    /,
    *,
    out: Path | None = None,
    into: Path | None = None,
) -> int:
    """Make one HTML page, plots and tables of the run folders of sweeps.

    The page needs no network and no other file; beside it stand the plots as PNG and SVG, and the
    tables as Markdown.

    Args:
        runs: run folders, or folders that hold some; by default runs.
        out: the folder to write; by default report in the first of them.
        into: also put the tables into this Markdown file, in place of all that stands below its
            line `<!-- ckpt report -->`.

    Returns:
        0.
    """
    from experiments.report.write import write_report

    print(f"wrote {write_report(runs, out, into)}")
    return 0


def export(run: Path, file: Path, /) -> int:
    """Write the results of a sweep as a table, one row per point.

    Args:
        run: the run folder.
        file: ends in .csv or .parquet.

    Returns:
        0.
    """
    from experiments.sweep.export import export_run

    print(f"wrote {export_run(run, file)} rows to {file}")
    return 0


def schema(what: Literal["experiment", "job", "model"] = "experiment", /) -> int:
    """Print the JSON schema of a YAML file, for editors that complete and check.

    Args:
        what: of an experiment (`ckpt sweep`), a job (`ckpt run`) or a model.

    Returns:
        0.
    """
    from experiments.json_schema import schema_text

    print(schema_text(what))
    return 0
