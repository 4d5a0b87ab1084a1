"""What demonstrations share: a configuration, a command, progress, and timing in turns."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import yaml
from cyclopts import App
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import ckpt
from ckpt.errors import CkptError

_ERRORS = Console(stderr=True)
"""Where bars are; one for all, so that they stand below each other."""

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "demonstrations"


class Config(BaseModel):
    """Sizes of a demonstration. `repeat` is how often each side is timed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    repeat: int = 7


class DemonstrationError(CkptError, ValueError):
    """A configuration cannot be read, or two sides give different values."""


C = TypeVar("C", bound=Config)


def configured(kind: type[C], path: Path) -> C:
    """Read a configuration.

    Raises:
        DemonstrationError: the file is missing, not YAML, or has a wrong key; names it.
    """
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DemonstrationError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise DemonstrationError(f"{path}: not YAML: {error}") from None
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DemonstrationError(f"{path}: {said}") from None


def command(
    name: str, about: str, kind: type[C], report: Callable[[C], Callable[[Path], None]]
) -> None:
    """Run a demonstration from the command line.

    Args:
        name: of the demonstration, and of its configuration.
        about: what it shows.
        kind: of its configuration.
        report: prints its tables, and gives what draws its picture.
    """
    app = App(name=name, help=about)

    @app.default
    def main(config: Path = FOLDER / f"{name}.yaml", *, picture: Path | None = None) -> None:
        """Print the tables.

        Args:
            config: sizes.
            picture: where to draw.
        """
        sizes = configured(kind, config)
        with ckpt.progress(console=_ERRORS):
            draw = report(sizes)
        if picture is not None:
            draw(picture)

    app()


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on the terminal while something long goes on; nothing where there is none.

    Yields:
        A function to call once per part that is done, with what is to be said of it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    quiet = not _ERRORS.is_terminal
    with Progress(*columns, console=_ERRORS, transient=True, disable=quiet) as bar:
        task = bar.add_task(what, total=total, said="")
        yield lambda said: bar.update(task, advance=1, said=said)


def in_turns(calls: Mapping[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Median seconds of several functions, run in turns so that all meet the same load.

    A turn is two calls, of which the second counts: what is called again and again finds the caches
    as it left them itself. Every other round goes backwards.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(repeat):
        for name in names if turn % 2 else reversed(names):
            calls[name]()
            began = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - began)
    return {name: median(took) for name, took in seconds.items()}


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table; the first column is text."""
    table = Table(title=title)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
