"""Progress of long loops."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

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
        console: a terminal or a notebook, where other bars of rich may be; by default the standard
            error. Elsewhere nothing is shown.

    >>> import numpy as np
    >>> import ckpt
    >>> with ckpt.progress():
    ...     float(ckpt.fori_loop(0, 5, lambda i, c: c + i, np.float64(0.0)))
    10.0
    """
    watcher = _Watcher(after_seconds, _Display(console))
    token = watching.set(watcher.watch)
    try:
        yield
    finally:
        watching.reset(token)
        watcher.end()


@dataclass(slots=True, eq=False)
class _Running:
    """A step that runs.

    Attributes:
        loops: what it counts.
        before: its count when it began.
        began: when.
        bar: once it has taken long.
    """

    loops: Counted
    before: int
    began: float
    bar: tuple[Progress, TaskID] | None = None


class _Watcher:
    """A thread that looks at the steps of a context; they only say that they are there."""

    def __init__(self, after_seconds: float, display: "_Display") -> None:
        self._after, self._display = after_seconds, display
        self._steps: set[_Running] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, loops: Counted) -> Generator[None]:
        """Look at a step until it ends."""
        step = _Running(loops, loops.runs(), perf_counter())
        with self._lock:
            self._steps.add(step)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._look, name="ckpt progress", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._steps.remove(step)
                if step.bar is not None:
                    self._display.set(step.bar, loops.runs() - step.before)
                    self._display.close(step.bar)

    def end(self) -> None:
        """No step follows."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            with self._lock:
                for step in self._steps:
                    if step.bar is None and perf_counter() - step.began >= self._after:
                        step.bar = self._display.open(step.loops)
                    if step.bar is not None:
                        self._display.set(step.bar, step.loops.runs() - step.before)


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
                console = self._console or Console(stderr=True)
                _Display._shown = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.fields[said]}"),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    console=console,
                    transient=True,
                    # a line that moves is of no use in a file
                    disable=not (console.is_terminal or console.is_jupyter),
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
