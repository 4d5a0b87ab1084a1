"""The results of a sweep as a table: one row per point, one column per key and metric."""

import csv
import json
from pathlib import Path
from typing import Any

from ckpt.files import ready_for, write_with
from experiments.sweep.store import Record, read_run


class ExportError(ValueError):
    """A table cannot be written as it was asked for; the message says what to do."""


def export_run(folder: Path, file: Path) -> int:
    """Write the results of a run folder to a CSV or Parquet file.

    Lists and mappings become JSON text. Columns that name the same thing in the configuration and
    in the result are told apart by `config.` and `result.`.

    Returns:
        The number of rows.

    Raises:
        FolderError: the folder is not that of a sweep.
        ExportError: the file ends in neither .csv nor .parquet, or pandas and pyarrow are missing.
    """
    _, records = read_run(folder)
    ready_for(file)
    rows = [flat(record) for record in records]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    match file.suffix:
        case ".csv":
            write_with(file, lambda path: _csv(path, columns, rows))
        case ".parquet":
            write_with(file, lambda path: _parquet(path, columns, rows))
        case other:
            raise ExportError(f"{file.name}: a table ends in .csv or .parquet, not {other!r}")
    return len(rows)


def flat(record: Record, before: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys; lists as JSON text."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{before}{key}.")
        elif isinstance(value, list | dict):
            found[before + key] = json.dumps(value)
        else:
            found[before + key] = value
    return found


def _csv(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _parquet(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    try:
        import pandas as pd
        import pyarrow as pa
    except ImportError as error:
        what = f"Parquet needs pandas and pyarrow ({error}): pip install 'ckpt-compiler[tables]'"
        raise ExportError(what) from None
    # a column has one type: where points differ in what they say, all of it is text
    for name in columns:
        kinds = {type(row[name]) for row in rows if row.get(name) is not None}
        if str in kinds and len(kinds) > 1:
            rows = [row | {name: _text(row.get(name))} for row in rows]
    frame = pd.DataFrame(rows, columns=columns)
    try:
        frame.to_parquet(path, index=False)
    except pa.ArrowException as error:
        raise ExportError(f"{path.name} cannot be written: {error}") from None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
