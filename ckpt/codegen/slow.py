"""Slow memory, where schedules of two levels put states: host memory beside arenas, or a file."""

import mmap
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from ckpt.choice import format_bytes
from ckpt.codegen.memory import ArenaError, pages
from ckpt.errors import ArgumentError
from ckpt.ir.op import Array

_folder: ContextVar[Path | None] = ContextVar("slow memory", default=None)


@contextmanager
def slow_memory(folder: str | Path) -> Generator[None]:
    """Put the slow memory of steps that are compiled inside this context into a folder.

    A step whose loops have schedules with slow slots (`policies.loops.TwoLevel`, or the disk of
    `checkpoint_schedules`) takes that memory when it is compiled, at its first call: from the host,
    beside its arena, or in a file without a name in this folder, which goes with the step. The
    bytes are in `Executable.stats`. How slow it is belongs to the schedule.

    Args:
        folder: on a disk with enough room.

    Raises:
        ArgumentError: there is no such folder.
        ArenaError: when a step is compiled, there is not so much room.

    >>> import tempfile
    >>> with slow_memory(tempfile.gettempdir()):
    ...     pass
    """
    path = Path(folder)
    if not path.is_dir():
        raise ArgumentError(f"slow memory goes into a folder; there is none at {path}")
    token = _folder.set(path)
    try:
        yield
    finally:
        _folder.reset(token)


def chosen_folder() -> Path | None:
    """Where the context says that slow memory belongs; None for host memory."""
    return _folder.get()


def slow_pages(nbytes: int, folder: Path | None) -> Array:
    """So many bytes of slow memory, in a file of its own if a folder is named.

    After a fork a file is shared with the parent.

    Raises:
        ArenaError: there is not so much room.
    """
    if folder is None or nbytes == 0:
        return pages(nbytes)
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            if hasattr(os, "posix_fallocate"):  # a full disk is no surprise later
                os.posix_fallocate(file.fileno(), 0, nbytes)
            else:
                file.truncate(nbytes)
            found = mmap.mmap(file.fileno(), nbytes)
        except OSError as error:
            raise ArenaError(
                f"slow memory of {format_bytes(nbytes)} cannot be had in {folder}: "
                f"{error.strerror}. Name another folder, or a schedule with fewer slow slots"
            ) from error
    return np.frombuffer(found, np.uint8)[:nbytes]
