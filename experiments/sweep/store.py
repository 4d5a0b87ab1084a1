"""The run folder of a sweep: one JSON line per finished point, never half a line.

A line is appended in one write and synced before the next point counts as finished. Whatever
stops the writer in the middle of one leaves a last line without an end, which is cut off when the
folder is opened again; its point runs again. A later line about the same point replaces an earlier.
"""

import fcntl
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ckpt.files import write_text
from experiments.folder import FolderError
from experiments.sweep.expand import Experiment, canonical

RESULTS, EXPERIMENT, LOCK = "results.jsonl", "experiment.json", ".lock"

Record = dict[str, Any]
"""What is known of a finished point; `experiments.sweep.attempt` says which keys it has."""


class Store:
    """An open run folder.

    Attributes:
        folder: where.
        records: of all finished points, by id, the newest of each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, Record] = {}
        self._file = -1
        self._size = 0

    def append(self, record: Record) -> None:
        """Write down a finished point; when this returns it is on the disk.

        Raises:
            FolderError: it cannot be written, the disk is full say; the folder is as it was before.
        """
        line = (canonical(record) + "\n").encode()
        try:
            if os.write(self._file, line) == len(line):
                os.fsync(self._file)
                self._size += len(line)
                self.records[record["id"]] = record
                return
            reason = "the disk is full"
        except OSError as error:
            reason = error.strerror or str(error)
        os.ftruncate(self._file, self._size)
        raise FolderError(
            f"{self.folder / RESULTS} cannot be written: {reason}; {len(self.records)} finished "
            "points are kept: make room and run the same command again"
        )

    def open(self) -> None:
        """Read what is there; cut off what was left half-written."""
        path = self.folder / RESULTS
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self.records = {record["id"]: record for record in read_records(path)}
        whole = _whole_bytes(path)
        os.ftruncate(self._file, whole)
        self._size = whole

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)


def _whole_bytes(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    return path.read_bytes().rfind(b"\n") + 1


def read_records(path: Path) -> Iterator[Record]:
    """The records of a results file, oldest first; a last line without an end is passed over.

    Raises:
        FolderError: a line is not a record; it says which.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
            _ = record["id"], record["status"], record["config"]  # what all have
        except (ValueError, KeyError, TypeError):
            what = "not a result of a point; remove the line, and the point runs again"
            raise FolderError(f"{path}:{number}: {what}") from None
        yield record


@contextmanager
def open_store(folder: Path, experiment: Experiment) -> Generator[Store]:
    """Open or make the run folder of an experiment, for one sweep at a time.

    Raises:
        FolderError: the folder cannot be written, another sweep is at work in it, or it holds
            another experiment.
    """
    store = Store(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FolderError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        _take(lock, folder)
        _claim(folder, experiment)
        try:
            store.open()
        except OSError as error:
            if isinstance(error, FolderError):
                raise
            raise FolderError(f"{folder / RESULTS} cannot be used: {error.strerror}") from None
        yield store
    finally:
        store.close()
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.read(lock, 32).decode() or "unknown"
        raise FolderError(
            f"another sweep (process {who}) is at work in {folder}: wait for it, or name another "
            "folder with --out"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _claim(folder: Path, experiment: Experiment) -> None:
    """Write what the folder is of, unless it is of something else.

    Points that it had before stay: with other overrides or axes an experiment grows.
    """
    path = folder / EXPERIMENT
    points = [point.id for point in experiment.points()]
    if path.exists():
        before = _read_experiment(path)
        if before["header"]["name"] != experiment.header.name:
            raise FolderError(
                f"{folder} holds the experiment {before['header']['name']!r}, not "
                f"{experiment.header.name!r}: name another folder with --out"
            )
        points = list(dict.fromkeys([*before["points"], *points]))
    elif any(p.name != LOCK for p in folder.iterdir()):
        raise FolderError(f"{folder} is not the run folder of a sweep: name another with --out")
    now = {"header": experiment.header.model_dump(mode="json"), "points": points}
    text = json.dumps(now, indent=1, default=str) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _read_experiment(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
        _ = found["header"]["name"], found["points"]  # what it has
    except (ValueError, KeyError, TypeError):
        raise FolderError(f"{path} is damaged: remove it, and it is written again") from None
    return found


def read_run(folder: Path) -> tuple[dict[str, Any], list[Record]]:
    """What a run folder is of, and the records of its points in the order of the experiment.

    Raises:
        FolderError: it is not the run folder of a sweep, or damaged.
    """
    path = folder / EXPERIMENT
    if not path.is_file():
        raise FolderError(f"{folder} is not the run folder of a sweep: it has no {EXPERIMENT}")
    experiment = _read_experiment(path)
    results = folder / RESULTS
    records = {r["id"]: r for r in read_records(results)} if results.exists() else {}
    return experiment, [records[i] for i in experiment["points"] if i in records]
