"""`ckpt report`: run folders in, one HTML page, plots and tables out."""

import itertools
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ckpt.files import write_text
from ckpt.inspect.figure import can_draw
from experiments.folder import FolderError
from experiments.report.figure import PRINTED, Picture
from experiments.report.line import line_pictures, measured_pictures
from experiments.report.page import page
from experiments.report.run import Run, load_run
from experiments.report.single import loss_pictures, single_pictures
from experiments.report.table import table_of, to_html, to_markdown
from experiments.report.verdict import tally
from experiments.sweep.store import EXPERIMENT

PAGE, TABLES, PLOTS = "index.html", "tables.md", "plots"

MARK = "<!-- ckpt report -->\n"
"""The line of a Markdown file below which the tables stand."""


def write_report(runs: Sequence[Path], out: Path | None = None, into: Path | None = None) -> Path:
    """Write the report of one or more sweeps.

    Args:
        runs: run folders, or folders that hold some.
        out: the folder to write; by default report in the first of `runs`.
        into: a Markdown file that gets the tables too, below its line `MARK`.

    Returns:
        The page.

    Raises:
        FolderError: there is no run folder, something that is no report stands at `out`, or `into`
            has no such line.
        DrawingError: matplotlib is not installed.
    """
    can_draw()
    above = None if into is None else _above(into)
    folders = _run_folders(runs)
    loaded = [load_run(folder) for folder in folders]
    folder = out or runs[0] / "report"
    if folder.exists() and not (folder / PAGE).exists() and any(folder.iterdir()):
        raise FolderError(f"{folder} holds something that is no report: name another with --out")
    plots = folder / PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    pictures = {run.header.name: pictures_of(run) for run in loaded}
    for picture in itertools.chain(*pictures.values()):
        figure = picture.figure(PRINTED)
        figure.savefig(plots / f"{picture.name}.png")
        write_text(plots / f"{picture.name}.svg", picture.svg())
    tables = "\n\n".join(map(_markdown, loaded)) + "\n"
    write_text(folder / TABLES, tables)
    if into is not None:
        write_text(into, f"{above}{MARK}\n{tables}")
    body = "\n".join(
        [_contents(loaded), *(_section(run, pictures[run.header.name]) for run in loaded)]
    )
    title = loaded[0].header.name if len(loaded) == 1 else "Experiments"
    write_text(folder / PAGE, page(title, body))
    return folder / PAGE


def _above(file: Path) -> str:
    """What stands above the line in a file.

    Raises:
        FolderError: there is no such file or no such line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{file} cannot be read: {error.strerror}") from None
    above, mark, _ = text.partition(MARK)
    if not mark:
        raise FolderError(f"{file} has no line {MARK.strip()}: put it where the tables shall stand")
    return above


def pictures_of(run: Run) -> list[Picture]:
    """All pictures that the experiment asks for and its points have data for."""
    found: list[Picture] = []
    for number, plot in enumerate(run.header.report.plots):
        name = f"{run.header.name}-{number}"
        match plot.kind:
            case "line":
                found += line_pictures(run, plot, name)
            case "measured":
                found += measured_pictures(run, plot, name)
            case "loss":
                found += loss_pictures(run, plot, name)
            case _:
                found += single_pictures(run, plot, name)
    return found


def _run_folders(runs: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for run in runs:
        if (run / EXPERIMENT).is_file():
            found.append(run)
        elif run.is_dir():
            found += sorted(path.parent for path in run.glob(f"*/{EXPERIMENT}"))
        else:
            raise FolderError(f"there is no folder {run}")
    if not found:
        raise FolderError(
            f"no run folder in {', '.join(map(str, runs))}: `ckpt sweep CONFIG.yaml` makes one"
        )
    return list(dict.fromkeys(found))


def _contents(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return ""
    items = "\n".join(
        f'<li><a href="#{escape(run.header.name)}">{escape(run.header.name)}</a>: '
        f"{escape(run.header.question)}</li>"
        for run in runs
    )
    return f"<h1>Experiments</h1>\n<nav><ul>\n{items}\n</ul></nav>"


def _section(run: Run, pictures: Sequence[Picture]) -> str:
    name, question = escape(run.header.name), escape(run.header.question)
    parts = [f'<section id="{name}">\n<h2>{name}</h2>\n<p>{question}</p>']
    parts.append(f"<p>{escape(summary(run))}</p>")
    if pictures:
        figures = "\n".join(
            f"<figure>{picture.inline()}<figcaption>{escape(picture.caption)}</figcaption></figure>"
            for picture in pictures
        )
        parts.append(f'<div class="pictures">\n{figures}\n</div>')
    parts.append(to_html(table_of(run)))
    notes = [*(f"{one.name}: {one.source}" for one in run.header.references), _about(run)]
    parts.append(f'<p class="soft">{"<br>".join(map(escape, notes))}</p>\n</section>')
    return "\n".join(parts)


def summary(run: Run) -> str:
    """How many points there are, and how their comparisons end."""
    failed = sum(not row.ok for row in run.rows)
    words = [f"{len(run.rows)} points" + (f", {failed} failed" if failed else "")]
    count = tally(run)
    if sum(count.values()):
        words.append(", ".join(f"{n} {word}" for word, n in count.items() if n))
    return ". ".join(words) + "."


def _about(run: Run) -> str:
    """With what it ran."""
    if not run.rows:
        return "No point is finished."
    first = run.rows[0].record
    versions = ", ".join(f"{k} {v}" for k, v in first.get("versions", {}).items())
    seconds = sum(row.record["seconds"] for row in run.rows)
    commits = sorted({str(row.record.get("commit")) for row in run.rows})
    return f"Commit {', '.join(commits)}; {versions}; {seconds:.0f} s of work."


def _markdown(run: Run) -> str:
    lines = [f"## {run.header.name}", "", run.header.question, "", summary(run), ""]
    lines.append(to_markdown(table_of(run)))
    lines += ["", *(f"- {one.name}: {one.source}" for one in run.header.references)]
    return "\n".join([*lines, f"- {_about(run)}"])
