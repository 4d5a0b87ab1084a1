"""A folder that appears whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderError(OSError):
    """A folder cannot be written; the message says why."""


def free_name(path: Path) -> Path:
    """The path itself, or the first of path-2, path-3, ... that does not exist yet."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def check_free(path: Path) -> None:
    """Refuse a path that something else stands at, before anything takes time.

    Raises:
        FolderError: it exists and is not an empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FolderError(f"{path} exists already: name another folder, or remove it")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it gets its name when the block ends without an error.

    Until then it stands beside its place under a name that begins with a dot; an error or an
    interruption removes it.

    Raises:
        FolderError: something stands at the path already.
    """
    check_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield half
        half.chmod(0o777 & ~_umask())  # mkdtemp made it private
        half.replace(path)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


def _umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
