"""Results on disk: a file is there whole, or it is as it was before."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole; an interruption leaves what was there before."""
    write_with(path, lambda whole: whole.write_text(text, encoding="utf-8"))


def write_with(path: str | Path, write: Callable[[Path], object]) -> None:
    """Have a file written under another name in the same folder, then give it its own.

    Args:
        path: the file to be.
        write: writes the file at the path that it is given; the suffix is that of `path`.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    half = Path(name)
    try:
        write(half)
        half.chmod(0o666 & ~_umask())  # mkstemp made it private
        half.replace(path)
    except BaseException:
        with suppress(OSError):
            half.unlink()
        raise


def _umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
