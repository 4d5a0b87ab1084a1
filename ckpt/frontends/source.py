"""Which line of the user's code is running: for every let, and for every error of tracing."""

import functools
import linecache
import os
import sys

import numpy as np
import optree

from ckpt.ir.program import SourceLine

_ROOTS = tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep  # noqa: PTH100, PTH120
    for file in (os.path.dirname(__file__), np.__file__, optree.__file__)  # noqa: PTH120
)


@functools.cache
def _is_ours(file: str) -> bool:
    """Whether a file belongs to ckpt, NumPy or optree; asked once per file."""
    return os.path.abspath(file).startswith(_ROOTS)  # noqa: PTH100


def user_line() -> SourceLine | None:
    """The innermost line on the call stack that is not in ckpt, NumPy or optree."""
    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        code = frame.f_code
        if not _is_ours(code.co_filename):
            return SourceLine(code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def quoted(source: SourceLine | None) -> str:
    """A source line with its text: ``model.py:12: y = np.sort(x)``."""
    if source is None:
        return "an unknown line"
    text = linecache.getline(source.file, source.line).strip()
    return f"{source}: {text}" if text else str(source)
