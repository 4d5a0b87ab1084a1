"""Progress of long loops."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ckpt.codegen.watching import Counted, watching

_LOOK_SECONDS = 0.1


@contextmanager
def progress(after_seconds: float = 2.0, *, console: Console | None = None) -> Generator[None]:
    """Show how far the loops of a step are, for steps that take long.

    Inside this context, every step of this thread that runs longer than `after_seconds` shows a bar
    until it ends: how often the bodies of its loops have run, there and back, of how often they
    will. For a `while_loop` nobody knows that; the bar then counts. What a loop computes, and how
    fast, does not change: another thread reads the counters that loops keep anyway.

    Args:
        after_seconds: shorter steps show nothing.
        console: where to; by default the standard error.

    >>> import numpy as np
    >>> import ckpt
    >>> with ckpt.progress():
    ...     float(ckpt.fori_loop(0, 5, lambda i, c: c + i, np.float64(0.0)))
    10.0
    """
    display = _Display(console)

    @contextmanager
    def watch(loops: Counted) -> Generator[None]:
        ended = threading.Event()
        watcher = threading.Thread(
            target=_follow,
            args=(loops, loops.runs(), ended, after_seconds, display),
            name="ckpt progress",
            daemon=True,
        )
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    token = watching.set(watch)
    try:
        yield
    finally:
        watching.reset(token)


def _follow(
    loops: Counted, before: int, ended: threading.Event, after_seconds: float, display: "_Display"
) -> None:
    """Show a step from when it has taken long until it has ended."""
    if ended.wait(after_seconds):
        return
    task = display.open(loops)
    try:
        while not ended.wait(_LOOK_SECONDS):
            display.set(task, loops.runs() - before)
        display.set(task, loops.runs() - before)
    finally:
        display.close(task)


class _Display:
    """One bar for each step that is shown, side by side if several threads run steps."""

    _lock = threading.Lock()
    _shown: Progress | None = None
    _open = 0

    def __init__(self, console: Console | None) -> None:
        self._console = console

    def open(self, loops: Counted) -> tuple[Progress, TaskID]:
        """A bar; the first one shows the display, for all contexts of the process."""
        with _Display._lock:
            if _Display._shown is None:
                _Display._shown = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.fields[said]}"),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    console=self._console or Console(stderr=True),
                    transient=True,
                )
                _Display._shown.start()
            _Display._open += 1
            shown = _Display._shown
            return shown, shown.add_task(loops.name, total=loops.total, said="")

    def set(self, task: tuple[Progress, TaskID], runs: int) -> None:
        """How far it is."""
        shown, number = task
        total = shown.tasks[shown.task_ids.index(number)].total
        said = f"{runs:,} steps" if total is None else f"{runs:,} of {int(total):,} steps"
        shown.update(number, completed=runs, said=said)

    def close(self, task: tuple[Progress, TaskID]) -> None:
        """The bar is done with; the last one ends the display."""
        with _Display._lock:
            shown, number = task
            _Display._open -= 1
            if _Display._open:
                shown.remove_task(number)
                return
            _Display._shown = None
            shown.stop()
