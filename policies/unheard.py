"""What compiled solvers print on standard output goes to standard error instead.

HiGHS prints a line of its own now and then, whatever it is told; a program that reads our output
must not find it there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Generator

__all__ = ["unheard"]


@contextlib.contextmanager
def unheard() -> Generator[None, None, None]:
    """Lead file descriptor 1 to standard error for a while, for the whole process.

    >>> with unheard():
    ...     _ = os.write(1, b"")
    """
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # nobody listens
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what the C library holds back belongs to standard error
        os.dup2(kept, 1)
        os.close(kept)
