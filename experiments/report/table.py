"""The rows of a run as a table, in HTML and in Markdown."""

from dataclasses import dataclass
from html import escape
from typing import Any

from experiments.report.run import Row, Run
from experiments.report.verdict import verdict
from policies.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: as it is shown.
        order: what a column is sorted by.
        mark: a class for its colour, or nothing.
        note: what is said when it is pointed at.
    """

    text: str
    order: float | str
    mark: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Column names, and rows of cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def table_of(run: Run) -> Table:
    """What distinguishes the points, what they found, and how that compares."""
    columns = [*run.keys, *(m for m in run.metrics if m not in run.keys)]
    shown = list(columns)
    for references in run.header.references:
        shown += [references.name, f"{references.name}: verdict"]
    failures = any(not row.ok for row in run.rows)
    if failures:
        shown.append("error")
    rows = []
    for row in run.rows:
        cells = [_cell(key, row.get(key)) for key in columns]
        for references in run.header.references:
            found = verdict(run, row, references)
            if found is None:
                cells += [Cell("", ""), Cell("", "")]
            else:
                cells.append(Cell(found.reference, _order(found.reference), note=found.note))
                cells.append(Cell(found.text, found.word, found.word.split()[0]))
        if failures:
            cells.append(_error(row))
        rows.append(tuple(cells))
    return Table(tuple(shown), tuple(rows))


def _error(row: Row) -> Cell:
    if row.ok:
        return Cell("", "")
    error = row.record["error"]
    return Cell(f"{error['type']}: {error['message']}".splitlines()[0][:160], "", "short")


def _order(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _cell(key: str, value: Any) -> Cell:
    if value is None:
        return Cell("", "")
    if isinstance(value, bool):
        return Cell("yes" if value else "no", str(value))
    if isinstance(value, dict | list):
        text = (
            ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else str(value)
        )
        return Cell(text, text)
    if isinstance(value, str):
        return Cell(value, _order(value))
    return Cell(shown(key, value), float(value))


def shown(key: str, value: float) -> str:
    """A number with the unit that its name says, as people read it.

    >>> shown("peak_bytes", 2048), shown("solve_seconds", 0.5), shown("overhead_percent", 1.23456)
    ('2.0 KiB', '500.0 ms', '1.235')
    """
    if key.endswith("bytes"):
        return format_bytes(round(value))
    if key.endswith("seconds"):
        return format_seconds(value)
    if isinstance(value, int):
        return f"{value:,}"
    if key.endswith(("percent", "points")):
        return f"{value:.3f}"
    return f"{value:.5g}"


def to_html(table: Table) -> str:
    """A table that a click on a column sorts."""
    head = "".join(
        '<th scope="col" aria-sort="none"><button type="button">'
        f"{escape(worded(name))}</button></th>"
        for name in table.columns
    )
    body = "\n".join("<tr>" + "".join(map(_html, row)) + "</tr>" for row in table.rows)
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="results"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _html(cell: Cell) -> str:
    note = f' title="{escape(cell.note, quote=True)}"' if cell.note else ""
    mark = f' class="{cell.mark}"' if cell.mark else ' class="n"' * isinstance(cell.order, float)
    order = escape(str(cell.order), quote=True)
    return f'<td{mark}{note} data-order="{order}">{escape(cell.text)}</td>'


def to_markdown(table: Table) -> str:
    """A table for a README; columns without any content are left out."""
    kept = [i for i, _ in enumerate(table.columns) if any(row[i].text for row in table.rows)]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head = [line([worded(table.columns[i]) for i in kept]), "|" + "---|" * len(kept)]
    return "\n".join(head + [line([row[i].text for i in kept]) for row in table.rows])


def worded(name: str) -> str:
    """`overhead_percent` as `overhead %`; units that the cells carry are left out."""
    for ending, word in (("_percent", " %"), ("_bytes", ""), ("_seconds", "")):
        if name.endswith(ending):
            return name.removesuffix(ending).replace("_", " ") + word
    return name.replace("_", " ")
