"""The one pool of threads: helpers that take part in whatever step asks for them.

Helpers are threads of Python that spend their time in native code, without Python's lock, or
asleep. A step never waits for a helper to come. After a fork the child has none, and starts its
own with its first step.
"""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from ckpt.errors import ArgumentError

VARIABLE = "CKPT_THREADS"
"""The environment variable that says how many threads run a step."""


class _Pool:
    """How many threads run a step, and the helpers that have been started."""

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads
        self.started = 0
        self.lock = threading.Lock()
        self.waiting: SimpleQueue[Callable[[int], None]] = SimpleQueue()

    def serve(self, number: int) -> None:
        """What a helper does all its life."""
        while True:
            self.waiting.get()(number)


_pool = _Pool()


def set_threads(n: int | None) -> None:
    """Say how many threads run a step in this process, from its next step on.

    Results have the same bits for any number. The settings of other libraries are left alone.

    Args:
        n: the number, the caller's own thread included; None for the default: what the
            environment variable CKPT_THREADS says, or else as many as the process has cores.

    Raises:
        ArgumentError: n is not a number of threads.

    >>> set_threads(2)
    >>> threads()
    2
    >>> set_threads(None)
    """
    _pool.n_threads = None if n is None else _checked(n, "set_threads")


def threads() -> int:
    """How many threads run a step.

    Raises:
        ArgumentError: CKPT_THREADS is not a number of threads.
    """
    if _pool.n_threads is None:
        said = os.environ.get(VARIABLE)
        _pool.n_threads = _cores() if said is None else _checked(said, VARIABLE)
    return _pool.n_threads


def call_helpers(take_part: Callable[[int], None]) -> None:
    """Ask all helpers to call a function that returns when there is nothing left to do.

    It is given the helper's number, from 1 on.

    Helpers that are busy are not asked again and again: as many calls wait as there are helpers.
    """
    wanted = threads() - 1
    pool = _pool
    if pool.started < wanted:
        with pool.lock:
            while pool.started < wanted:
                pool.started += 1
                number = pool.started
                threading.Thread(
                    target=pool.serve, args=(number,), name=f"ckpt-{number}", daemon=True
                ).start()
    for _ in range(wanted - pool.waiting.qsize()):
        pool.waiting.put(take_part)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _checked(given: int | str, where: str) -> int:
    try:
        n = int(given)
    except ValueError:
        n = 0
    if n < 1:
        raise ArgumentError(f"{where}: {given!r} is not a number of threads: give 1 or more")
    return n


def _forget() -> None:
    global _pool  # noqa: PLW0603  # the helpers of the parent do not exist here
    _pool = _Pool(_pool.n_threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
