"""`ckpt sweep`: run the points of an experiment that are not finished yet."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.sweep.expand import Experiment, Point, load_experiment
from experiments.sweep.store import Record, Store, open_store

if TYPE_CHECKING:
    from experiments.sweep.attempt import Task

MANY = 10_000
"""More points than this are started only when they are asked for in so many words."""

INTERRUPTED = 130

_HEADLINE = ("overhead_percent", "largest_batch", "last_loss", "status", "seconds")


class SweepError(ValueError):
    """A sweep cannot go on as it was asked for; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a sweep.

    Attributes:
        out: the run folder; by default runs/NAME of the experiment.
        jobs: points at once; by default as many as there are processors.
        dask: "local" for a cluster on this machine, or the address of a scheduler.
        mlflow: where to log runs besides, such as file:mlruns; None for nowhere.
        retry: also run the points that failed.
        yes: start however many points there are.
    """

    out: Path | None = None
    jobs: int | None = None
    dask: str | None = None
    mlflow: str | None = None
    retry: bool = False
    yes: bool = False


def sweep(
    config: Path, overrides: Sequence[str], options: Options, console: Console | None = None
) -> int:
    """Run what is not finished of an experiment.

    Returns:
        0; 1 if points failed; 130 if it was interrupted.

    Raises:
        ConfigError, FolderError, SweepError: said before anything runs.
    """
    console = console or Console()
    if options.jobs is not None and options.jobs < 1:
        raise SweepError(f"--jobs must be at least 1, not {options.jobs}")
    experiment = load_experiment(config, overrides)
    _not_too_many(experiment, options)
    folder = options.out or Path("runs") / experiment.header.name
    points = list(experiment.points())
    if not folder.exists():  # then there is something to run: no folder for what cannot
        _checked(points, options)
    with open_store(folder, experiment) as store:
        todo = [p for p in points if _is_open(store.records.get(p.id), options)]
        console.print(f"[bold]{experiment.header.name}[/]: {experiment.header.question}")
        if len(todo) < len(points):
            console.print(f"{len(points) - len(todo)} of {len(points)} points are finished already")
        if todo:
            try:
                _run(experiment, todo, store, options, console)
            except KeyboardInterrupt:
                console.print(
                    f"interrupted; {len(store.records)} finished points are kept: run the same "
                    "command again to go on",
                    soft_wrap=True,
                )
                return INTERRUPTED
        records = [store.records[p.id] for p in points if p.id in store.records]
    failed = [record for record in records if record["status"] != "ok"]
    console.print(
        f"{len(records) - len(failed)} points in {folder}"
        + (f", {len(failed)} failed (--retry runs them again)" if failed else "")
        + f"; `ckpt report {folder}` shows them",
        soft_wrap=True,
    )
    return 1 if failed else 0


def _checked(points: Sequence[Point], options: Options) -> list["Task"]:
    """The tasks of points; what checks them is heavy, and loaded only where there is work.

    What this machine's processes are forked from gets ready meanwhile.
    """
    if options.dask is None:
        from experiments.sweep.attempt import warm_up

        warm_up()
    from experiments.sweep.tasks import checked

    return checked(points)


def _is_open(record: Record | None, options: Options) -> bool:
    return record is None or (options.retry and record["status"] != "ok")


def _not_too_many(experiment: Experiment, options: Options) -> None:
    count = experiment.n_points
    if count <= MANY or options.yes:
        return
    sizes = " x ".join(f"{len(axis.values)} {axis.key}" for axis in experiment.axes)
    raise SweepError(
        f"these are {count:,} points ({sizes}): if that is what you want, say --yes; `exclude:`, "
        "shorter axes or key=value on the command line make them fewer"
    )


def _run(
    experiment: Experiment, todo: list[Point], store: Store, options: Options, console: Console
) -> None:
    tasks = _checked(todo, options)
    jobs = options.jobs or os.cpu_count() or 1
    commit = _commit()
    with _logging(experiment, options) as log, _progress(console, len(tasks)) as news:
        if options.dask is None:
            from experiments.sweep.local import run_here

            records: Generator[Record] = run_here(tasks, jobs, news.running)
        else:
            from experiments.sweep.cluster import run_there

            records = run_there(tasks, options.dask, jobs)
        with closing(records), _stop_as_interrupted():
            for record in records:
                whole = record | {"commit": commit}
                store.append(whole)
                log(whole)
                news.finished(record)


@contextmanager
def _stop_as_interrupted() -> Generator[None]:
    """A polite request to end is heard as Ctrl-C is."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: signals are not ours
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _logging(experiment: Experiment, options: Options) -> Generator[Callable[[Record], None]]:
    if options.mlflow is None:
        yield lambda _: None
        return
    from experiments.sweep.tracking import tracking

    with tracking(experiment.header, options.mlflow) as log:
        yield log


def _commit() -> str:
    """The commit that this package stands at, with a plus if files differ from it."""
    here = Path(__file__).parent

    def git(*what: str) -> str:
        command = ["git", "-C", str(here), *what]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--short") else "")
    except (OSError, subprocess.CalledProcessError):
        return "not a checkout"


class _News:
    """A line that moves at a terminal, and lines that stay elsewhere."""

    def __init__(self, console: Console, progress: Progress, task: Any) -> None:
        self.console, self.progress, self.task = console, progress, task
        self.failures = 0

    def running(self, labels: list[str]) -> None:
        self.progress.update(self.task, said=" | ".join(labels)[:70])

    def finished(self, record: Record) -> None:
        failed = record["status"] != "ok"
        self.failures += failed
        self.progress.update(self.task, advance=1, failed=f"{self.failures} failed")
        if failed or not self.console.is_terminal:
            label = " ".join(f"{k}={v}" for k, v in record["changes"].items())
            said = record["error"]["message"].splitlines()[:1] if failed else [_headline(record)]
            line = f"{record['status']:>6}  {record['seconds']:7.2f} s  {label}  {''.join(said)}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _headline(record: Record) -> str:
    result = record["result"]
    name = next((n for n in _HEADLINE if result.get(n) is not None), None)
    if name is None:
        return ""
    value = result[name]
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


@contextmanager
def _progress(console: Console, total: int) -> Generator[_News]:
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        yield _News(console, progress, progress.add_task("", total=total, said="", failed=""))


def dry_run(config: Path, overrides: Sequence[str], options: Options) -> int:
    """List the points that would run, with what they are expected to take.

    Raises:
        ConfigError, SweepError: as `sweep` does.
    """
    from rich.table import Table

    from experiments.sweep.tasks import checked, estimates
    from policies.units import format_bytes, format_seconds

    experiment = load_experiment(config, overrides)
    _not_too_many(experiment, options)
    points = list(experiment.points())
    found = estimates(checked(points))
    jobs = options.jobs or os.cpu_count() or 1
    table = Table(title=experiment.header.question)
    for name in ("point", "id", "time at most", "memory about"):
        table.add_column(name, justify="left" if name in ("point", "id") else "right")
    for point, one in zip(points, found, strict=True):
        table.add_row(point.label, point.id, format_seconds(one.seconds), format_bytes(one.bytes))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    total = sum(one.seconds for one in found)
    most = max((one.bytes for one in found), default=0)
    console.print(
        f"{len(points)} points: at most {format_seconds(total / jobs)} with {jobs} at once, about "
        f"{format_bytes(most * min(jobs, len(points)))} of memory; nothing was run"
    )
    return 0
