"""Results on disk: a file is there whole, or it is as it was before."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from errno import EACCES, EISDIR, ENOENT, ENOTDIR
from pathlib import Path


def ready_for(*paths: str | Path | None) -> None:
    """Refuse early, before anything takes time, what could not be written in the end.

    Raises:
        FileNotFoundError, NotADirectoryError, PermissionError: names the folder.
        IsADirectoryError: the file is a folder.
    """
    for path in map(Path, filter(None, paths)):
        folder = path.parent
        if not folder.exists():
            raise FileNotFoundError(ENOENT, "there is no such folder", str(folder))
        if not folder.is_dir():
            raise NotADirectoryError(ENOTDIR, "this is not a folder", str(folder))
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "this is a folder; name a file in it", str(path))
        if not os.access(folder, os.W_OK):
            raise PermissionError(EACCES, "this folder cannot be written to", str(folder))


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
