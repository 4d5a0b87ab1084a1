"""The report of finished sweeps: tables, verdicts, pictures, and the page in a real browser."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments import cli
from experiments.folder import FolderError
from experiments.report.run import load_run
from experiments.report.table import Cell, Table, shown, table_of, to_html, to_markdown
from experiments.report.verdict import tally, verdict
from experiments.report.write import pictures_of, write_report
from experiments.sweep.expand import load_experiment
from experiments.sweep.store import open_store, read_run

ROOT = Path(__file__).parents[3]

TEXT = """\
name: curves
question: Is "less" < more & why?
kind: plan
sweep:
  policy: [auto, sqrt]
  budget.fraction: [0.5, 0.9]
references:
  - name: theirs
    source: A. Author, A Title, 2020
    metric: overhead_percent
    decimals: 1
    of: {policy: auto}
    values:
      - {at: {budget.fraction: 0.5}, value: 10.0, note: in an hour}
      - {at: {budget.fraction: 0.9}, value: infeasible}
  - {name: sqrt, source: this sweep, metric: overhead_percent, against: {policy: sqrt}}
report:
  plots:
    - {title: Curve, x: budget.fraction, y: overhead_percent, series: policy,
       bound: bound_percent, log: y}
    - {kind: memory, title: Memory}
    - {kind: anytime, title: Solving, at: {policy: auto, budget.fraction: 0.5}}
    - {kind: schedule, title: Schedule, at: {policy: sqrt, budget.fraction: [0.5, 0.7]}}
    - {kind: loss, title: Training}
    - {kind: measured, title: Promise, x: peak_bytes, y: measured_bytes}
"""

RECORDED = {
    "memory": [[0.5, 100], [1.0, 900], [2.0, 300]],
    "anytime": [[0.1, None, 1.0], [0.2, 20.0, 2.0], [0.3, 10.04, 9.0]],
    "schedule": [0, 1, 2, 1, 3],
    "losses": [2.0, 1.5, 1.25],
    "loss_digest": 7,
    "budget_bytes": 1000,
    "peak_bytes": 900,
    "measured_bytes": 890,
}


def result(point):
    fraction, policy = point.changes["budget.fraction"], point.changes["policy"]
    overhead = {0.5: 10.04, 0.9: 2.0}[fraction] if policy == "auto" else 12.0
    return {"status": "feasible", "overhead_percent": overhead, "bound_percent": 1.5} | RECORDED


def make_run(folder, text=TEXT, change=lambda record: record):
    config = folder / "curves.yaml"
    config.write_text(text)
    experiment = load_experiment(config)
    run = folder / "runs/curves"
    with open_store(run, experiment) as store:
        for point in experiment.points():
            record = {
                "id": point.id, "config": point.config, "changes": point.changes, "status": "ok",
                "result": result(point), "seconds": 1.0, "commit": "abc", "versions": {},
            }  # fmt: skip
            store.append(change(record))
    return run


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    make_run(folder)
    return write_report([folder / "runs"], folder / "report")


def test_what_is_written(page):
    folder = page.parent
    plots = sorted(path.name for path in (folder / "plots").iterdir())
    # one curve, four timelines, one point solving, one schedule, one of losses, one of promises
    assert len(plots) == 2 * (1 + 4 + 1 + 1 + 1 + 1)
    for path in (folder / "plots").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    tables = (folder / "tables.md").read_text()
    assert "| auto | 0.5 |" in tables
    assert "theirs: A. Author, A Title, 2020" in tables


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', text) == []
    assert re.findall(r"url\((?!#)", text) == []
    assert "@import" not in text
    assert html.escape('Is "less" < more & why?') in text
    names = re.findall(r' id="([^"]*)"', text)
    assert len(names) == len(set(names))
    for used in re.findall(r'(?:url\(|href=")#([^")]*)', text):
        assert used in names


def test_the_same_results_give_the_same_page(page, tmp_path):
    run, text = load_run(make_run(tmp_path)), page.read_text()
    for picture in pictures_of(run)[:3]:
        assert picture.inline() in text
    assert to_html(table_of(run)) in text


def test_verdicts(tmp_path):
    run = load_run(make_run(tmp_path))
    theirs, sqrt = run.header.references
    rows = {(row.get("policy"), row.get("budget.fraction")): row for row in run.rows}
    assert verdict(run, rows["auto", 0.5], theirs).text == "matched"  # to the digits shown
    assert verdict(run, rows["auto", 0.5], theirs).note == "in an hour"
    assert verdict(run, rows["auto", 0.9], theirs).text == "beaten: there is a plan"
    assert verdict(run, rows["sqrt", 0.5], theirs) is None
    assert verdict(run, rows["auto", 0.5], sqrt).text == "beaten by 1.96"
    assert verdict(run, rows["sqrt", 0.5], sqrt) is None
    assert tally(run) == {"beaten": 3, "matched": 1, "short": 0, "not comparable": 0}


@pytest.mark.parametrize(
    ("ours", "change", "word", "text"),
    [
        (10.06, {}, "short", "short by 0.06: because"),
        (9.9, {}, "beaten", "beaten by 0.1"),
        (9.9, {"better": "higher"}, "short", "short by 0.1: because"),
        (11.0, {"better": "higher"}, "beaten", "beaten by 1"),
        (11.0, {"better": "equal"}, "short", "differs by 1"),
        (10.0, {"better": "equal"}, "matched", "matched"),
        (10.4, {"tolerance": 0.05}, "matched", "matched"),
        (None, {}, "short", "short: feasible"),
    ],
)
def test_who_is_better(tmp_path, ours, change, word, text):
    run = load_run(
        make_run(
            tmp_path, change=lambda r: r | {"result": r["result"] | {"overhead_percent": ours}}
        )
    )
    references = run.header.references[0].model_copy(update={"why": "because", **change})
    found = verdict(run, run.rows[0], references)
    assert (found.word, found.text) == (word, text)


def test_a_proof_that_there_is_no_plan(tmp_path):
    def proved(record):
        return record | {"result": {"status": "infeasible"}}

    run = load_run(make_run(tmp_path, change=proved))
    theirs = run.header.references[0]
    assert verdict(run, run.rows[0], theirs).text == "short: proved that there is no plan"
    assert verdict(run, run.rows[1], theirs).text == "matched"


def test_failures_are_shown(tmp_path):
    def failed(record):
        del record["result"]
        error = {"type": "TimeLimit", "message": "stopped <here>"}
        return record | {"status": "failed", "error": error}

    make_run(tmp_path, change=failed)
    text = write_report([tmp_path / "runs"]).read_text()
    assert "TimeLimit: stopped &lt;here&gt;" in text
    assert "4 points, 4 failed" in text
    assert "short: the point failed" in text


def test_a_sweep_without_results_has_a_report(tmp_path):
    (tmp_path / "curves.yaml").write_text(TEXT)
    with open_store(tmp_path / "run", load_experiment(tmp_path / "curves.yaml")):
        pass
    assert "No point is finished." in write_report([tmp_path / "run"]).read_text()


def test_what_cannot_be_reported(tmp_path):
    with pytest.raises(FolderError, match="there is no folder"):
        write_report([tmp_path / "missing"])
    with pytest.raises(FolderError, match="no run folder in"):
        write_report([tmp_path])
    run = make_run(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kept").write_text("")
    with pytest.raises(FolderError, match="holds something that is no report"):
        write_report([run], tmp_path / "mine")


def test_equal_losses_are_said_to_be_equal(tmp_path):
    run = load_run(make_run(tmp_path))
    (loss,) = [p for p in pictures_of(run) if p.title == "Training"]
    assert loss.caption == "4 curves, the same bit for bit"


def test_tables_as_text():
    table = Table(("a_percent", "empty"), ((Cell("1|2", 1.0), Cell("", "")),))
    assert to_markdown(table) == "| a % |\n|---|\n| 1\\|2 |"
    assert "<td class=" in to_html(table)
    assert shown("tasks", 10000) == "10,000"


def test_columns_are_chosen(tmp_path):
    text = TEXT.replace("report:\n", "report:\n  columns: [status]\n")
    table = table_of(load_run(make_run(tmp_path, text)))
    assert table.columns[:3] == ("policy", "budget.fraction", "status")
    assert "peak_bytes" not in table.columns


@pytest.fixture(scope="module")
def chromium():
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no Chromium here: the page is not looked at")

    def run(*words):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        return subprocess.run(
            [found, *flags, *words], capture_output=True, text=True, check=True, timeout=120
        ).stdout

    return run


PROBE = """
const view = document.querySelector("iframe").contentDocument;
const buttons = [...view.querySelectorAll("th button")];
const names = buttons.map(b => b.textContent);
const column = i => [...view.querySelector("tbody").rows].map(r => r.cells[i].textContent);
const sorted = {};
for (const name of ["budget.fraction", "overhead %"]) {
  const i = names.indexOf(name);
  buttons[i].click(); const up = column(i);
  buttons[i].click(); sorted[name] = [up, column(i)];
}
const style = e => view.defaultView.getComputedStyle(e);
const letters = [...view.querySelectorAll("svg text")].map(e => e.getBoundingClientRect().height);
document.body.dataset.found = JSON.stringify({
  sorted, dark: matchMedia("(prefers-color-scheme: dark)").matches,
  paper: style(view.body).backgroundColor, ink: style(view.querySelector("svg text")).fill,
  wide: view.documentElement.scrollWidth, room: view.documentElement.clientWidth,
  smallest: Math.min(...letters.filter(h => h > 0)), pictures: view.querySelectorAll("svg").length,
});
"""


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_in_a_browser(page, tmp_path, chromium, dark):
    """As on a phone: 390 pixels wide, no network; sorted by clicks; letters on their ground."""
    outer = tmp_path / "outer.html"
    inner = html.escape(page.read_text(), quote=True)
    outer.write_text(
        f'<!doctype html><body><iframe width="390" height="800" srcdoc="{inner}"></iframe>'
        f"<script>addEventListener('load', () => {{{PROBE}}});</script></body>"
    )
    scheme = ["--force-dark-mode"] if dark else []
    dom = chromium(*scheme, "--dump-dom", f"file://{outer}")
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dom)[1]))
    assert found["dark"] == dark
    ground, ink = (sum(map(int, re.findall(r"\d+", found[k])[:3])) / 3 for k in ("paper", "ink"))
    assert (ground < 60 and ink > 180) if dark else (ground > 200 and ink < 80)
    assert found["wide"] <= found["room"] <= 390
    assert found["smallest"] >= 6
    assert found["pictures"] == 9
    assert found["sorted"]["budget.fraction"] == [
        ["0.5", "0.5", "0.9", "0.9"], ["0.9", "0.9", "0.5", "0.5"],
    ]  # fmt: skip
    up, down = found["sorted"]["overhead %"]
    assert up == ["2.000", "10.040", "12.000", "12.000"] == down[::-1]


def test_smoke(tmp_path, monkeypatch):
    """What CI runs: the sweep and the report of configs/experiments/smoke.yaml."""
    monkeypatch.chdir(tmp_path)
    assert cli.sweep(ROOT / "configs/experiments/smoke.yaml") == 0
    assert cli.report() == 0
    run = load_run(Path("runs/smoke"))
    assert all(row.ok for row in run.rows)
    count = tally(run)
    assert count["short"] == count["not comparable"] == 0
    assert count["beaten"] + count["matched"] >= 5
    _, records = read_run(Path("runs/smoke"))
    by_policy = {
        (r["config"]["policy"], r["config"]["budget"].get("fraction")): r["result"] for r in records
    }
    for fraction in (0.9, 0.7, 0.5):
        ours = by_policy["auto", fraction]
        for policy in ("sqrt", "greedy", "dtr"):
            assert (
                ours["overhead_percent"] <= by_policy[policy, fraction]["overhead_percent"] + 1e-9
            )
    text = Path("runs/report/index.html").read_text()
    assert text.count("<svg") == len(pictures_of(run)) > 10


def test_tables_go_into_a_file_below_its_line(tmp_path):
    run, file = make_run(tmp_path), tmp_path / "README.md"
    file.write_text("# Above\n\n<!-- ckpt report -->\nold\n")
    write_report([run], tmp_path / "report", file)
    once = file.read_text()
    assert once.startswith("# Above\n\n<!-- ckpt report -->\n\n## curves\n")
    assert "old" not in once
    assert once.endswith((tmp_path / "report/tables.md").read_text())
    write_report([run], tmp_path / "report", file)
    assert file.read_text() == once


@pytest.mark.parametrize("text", [None, "no such line\n"])
def test_a_file_without_the_line_is_left_as_it_is(tmp_path, text):
    run, file = make_run(tmp_path), tmp_path / "README.md"
    if text is not None:
        file.write_text(text)
    with pytest.raises(FolderError, match=re.escape(str(file))):
        write_report([run], tmp_path / "report", file)
    assert (file.read_text() if file.exists() else None) == text
    assert not (tmp_path / "report").exists()
