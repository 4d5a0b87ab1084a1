"""One thread for BLAS while a step runs: how a product is split among threads changes its bits.

The library that SciPy brings is limited during our calls only, and gets its setting back. Where
SciPy uses another BLAS than the OpenBLAS of its wheels there is nothing to set, and the number of
threads is the user's affair.
"""

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

import scipy  # pyright: ignore[reportMissingTypeStubs]


@cache
def _library() -> ctypes.CDLL | None:
    """The OpenBLAS that SciPy has loaded, if it came with SciPy."""
    package = Path(scipy.__file__).parent
    for folder in (package.parent / "scipy.libs", package / ".dylibs", package / ".libs"):
        for path in sorted(folder.glob("*scipy_openblas*")):
            library = ctypes.CDLL(str(path))
            if hasattr(library, "scipy_openblas_set_num_threads"):
                return library
    return None


class _Limit:
    """How many of our steps are running, and the setting to give back after the last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.running = 0
        self.before = 0


_limit = _Limit()


def _before_fork() -> None:
    """OpenBLAS changes its setting under a lock of its own, which a child must not find taken."""
    _limit.lock.acquire()


def _after_fork_in_parent() -> None:
    _limit.lock.release()


def _after_fork() -> None:
    """The steps that were running are not running in the child: give the setting back."""
    library = _library() if _limit.running else None
    if library is not None:
        library.scipy_openblas_set_num_threads(_limit.before)
    _limit.running = 0
    _limit.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork
    )


@contextmanager
def one_thread() -> Generator[None]:
    """Inside, SciPy's BLAS uses one thread."""
    library = _library()
    if library is None:
        yield
        return
    with _limit.lock:
        if _limit.running == 0:
            _limit.before = library.scipy_openblas_get_num_threads()
            library.scipy_openblas_set_num_threads(1)
        _limit.running += 1
    try:
        yield
    finally:
        with _limit.lock:
            _limit.running -= 1
            if _limit.running == 0:
                library.scipy_openblas_set_num_threads(_limit.before)
