"""The memory of an arena: pages of our own, or an error that says what was asked for."""

import mmap
import sys
from pathlib import Path

import numpy as np

from ckpt.choice import format_bytes
from ckpt.errors import CkptError
from ckpt.ir.op import Array

_MEMORY = Path("/proc/meminfo")


class ArenaError(CkptError, MemoryError):
    """The machine does not have the memory that a plan needs."""


def pages(nbytes: int) -> Array:
    """Bytes at the start of a page, and so aligned for every kernel; ours alone after a fork.

    Pages that are only promised are no help: a process that touches more than there is gets
    killed. So where the system says what can be had, it is asked first.

    Raises:
        ArenaError: there is not so much memory.
    """
    there = available_bytes()
    if there is not None and nbytes > there:
        raise ArenaError(_said(nbytes, f"; {format_bytes(there)} are available"))
    try:
        if sys.platform == "win32":
            found = mmap.mmap(-1, max(nbytes, 1))
        else:
            found = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError, ValueError) as error:
        raise ArenaError(_said(nbytes, "")) from error
    return np.frombuffer(found, np.uint8)[:nbytes]


def available_bytes() -> int | None:
    """Memory and swap that can be had without taking it from others; None where nobody says."""
    try:
        lines = _MEMORY.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    said = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    if "MemAvailable" not in said:
        return None
    return sum(1024 * int(said[name][0]) for name in ("MemAvailable", "SwapFree") if name in said)


def _said(nbytes: int, there: str) -> str:
    return (
        f"the arena of {format_bytes(nbytes)} cannot be had{there}. Give the step a budget, or a "
        "smaller one, or make the batch smaller"
    )
