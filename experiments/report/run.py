"""A run folder as rows: the keys that distinguish its points, and what they found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.sweep.expand import canonical, matches, value_at
from experiments.sweep.header import Header
from experiments.sweep.store import Record, read_run

_QUIET = ("time_limit", "memory_limit", "record")
"""Keys that are no part of a question."""


@dataclass(frozen=True, slots=True)
class Row:
    """A finished point.

    Attributes:
        record: everything that was written of it.
    """

    record: Record

    @property
    def ok(self) -> bool:
        """Whether it found something."""
        return self.record["status"] == "ok"

    def get(self, key: str) -> Any:
        """A metric of the result, or else a dotted key: as the sweep names it, or its value."""
        for known in (self.record.get("result", {}), self.record["changes"]):
            if known.get(key) is not None:
                return known[key]
        return value_at(self.record["config"], key)

    def number(self, key: str) -> float | None:
        """The same if it is a number; text that is one counts."""
        value = self.get(key)
        try:
            return None if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            return None

    def meets(self, at: dict[str, Any]) -> bool:
        """Whether it has these values."""
        return all(matches(self.get(key), wanted) for key, wanted in at.items())


@dataclass(frozen=True, slots=True)
class Run:
    """The run folder of a sweep.

    Attributes:
        folder: where.
        header: question, references, what to show.
        rows: its finished points.
        keys: dotted keys of the configuration that differ between them.
    """

    folder: Path
    header: Header
    rows: tuple[Row, ...]
    keys: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the table shows of results: what the header says, or all numbers and words."""
        if self.header.report.columns:
            return tuple(self.header.report.columns)
        found: dict[str, None] = {}
        for row in self.rows:
            for key, value in row.record.get("result", {}).items():
                if not isinstance(value, list | dict):
                    found[key] = None
        return tuple(found)


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        FolderError: it is not the run folder of a sweep, or damaged.
    """
    experiment, records = read_run(folder)
    header = Header.model_validate(experiment["header"])
    return Run(folder, header, tuple(map(Row, records)), _differing(header, records))


def _differing(header: Header, records: list[Record]) -> tuple[str, ...]:
    """Dotted keys whose values differ: the axes as the experiment lists them, then the others."""
    axes = [key for key, _ in _leaves(header.sweep)]
    changed = dict.fromkeys([*axes, *(key for record in records for key in record["changes"])])
    flat = [
        {key: value for key, value in _leaves(record["config"]) if not _below(key, changed)}
        | {key: record["changes"].get(key, value_at(record["config"], key)) for key in changed}
        for record in records
    ]
    keys = dict.fromkeys(key for one in [changed, *flat] for key in one)
    return tuple(
        key
        for key in keys
        if key not in _QUIET and len({canonical(one.get(key)) for one in flat}) > 1
    )


def _below(key: str, changed: dict[str, None]) -> bool:
    """Whether a key is one of these, or inside of it."""
    parts = key.split(".")
    return any(".".join(parts[:n]) in changed for n in range(1, len(parts) + 1))


def _leaves(config: dict[str, Any], before: str = "") -> Any:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
