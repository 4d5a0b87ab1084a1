"""Points on this machine: so many processes at once, each fresh."""

import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection

from experiments.sweep.attempt import Attempt, Task
from experiments.sweep.store import Record


def run_here(
    tasks: Sequence[Task], jobs: int, running: Callable[[list[str]], object] = lambda _: None
) -> Generator[Record]:
    """Run points, and give the record of each as it finishes.

    Closing the iterator ends what is running; nothing of it is left.

    Args:
        tasks: in the order in which they start.
        jobs: how many at once.
        running: is told the labels of the points at work, whenever they change.
    """
    waiting = list(reversed(tasks))
    at_work: dict[Connection, Attempt] = {}

    def fill() -> None:
        while waiting and len(at_work) < jobs:
            attempt = Attempt(waiting.pop())
            at_work[attempt.pipe] = attempt

    try:
        fill()
        while at_work:
            running([attempt.task.point.label for attempt in at_work.values()])
            first = min(attempt.deadline for attempt in at_work.values())
            ready = connection.wait(list(at_work), max(0.0, first - time.monotonic()))
            done = [at_work.pop(pipe).finish() for pipe in ready]
            now = time.monotonic()
            late = [pipe for pipe, attempt in at_work.items() if attempt.deadline <= now]
            done += [at_work.pop(pipe).stop() for pipe in late]
            fill()  # the next ones start before what is finished is written down
            yield from done
    finally:
        for attempt in at_work.values():
            attempt.kill()
