"""Progress on stderr for whatever takes long; stdout is for results."""

import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.status import Status

if TYPE_CHECKING:
    from ckpt.choice import Step

QUIET_SECONDS = 2.0
"""Nothing is said about what takes less."""

EVERY_SECONDS = 5.0
"""How often a line is printed where stderr is no terminal."""


class News:
    """What is being done, on a line that changes, or line by line where that is not possible."""

    def __init__(self, status: Status | None) -> None:
        self._status = status
        self._began = time.monotonic()
        self._said = self._began + QUIET_SECONDS - EVERY_SECONDS
        self._task = ""

    def task(self, what: str) -> None:
        """Say what begins now."""
        self._task = what
        self._say(what)

    def step(self, step: "Step") -> None:
        """News from a policy at work: what it has so far."""
        parts = [self._task, step.engine]
        if step.seconds is not None:
            parts.append(f"best {step.seconds:.3e} s")
        if step.bound_seconds is not None:
            parts.append(f"bound {step.bound_seconds:.3e} s")
        self._say(": ".join(filter(None, (parts[0], ", ".join(parts[1:])))))

    def _say(self, what: str) -> None:
        now = time.monotonic()
        if self._status is not None:
            self._status.update(f"{what} ({now - self._began:.0f} s)")
        elif now - self._said >= EVERY_SECONDS:
            self._said = now
            print(f"{what} ({now - self._began:.0f} s)", file=sys.stderr, flush=True)


@contextmanager
def news(what: str) -> Generator[News]:
    """Show progress while a block runs; what solvers print themselves stays off stdout."""
    from ckpt.choice import unheard

    console = Console(stderr=True)
    with ExitStack() as stack:
        stack.enter_context(unheard())
        terminal = console.is_terminal
        said = News(stack.enter_context(console.status(what)) if terminal else None)
        said.task(what)
        yield said
