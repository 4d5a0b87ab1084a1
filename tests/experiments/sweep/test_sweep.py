"""Sweeps in processes of their own: finished, failed, stopped, killed, interrupted, resumed."""

import csv
import json
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from experiments.source import ConfigError
from experiments.sweep.export import ExportError, export_run
from experiments.sweep.run import INTERRUPTED, Options, SweepError, sweep
from experiments.sweep.store import LOCK, RESULTS, read_records, read_run

ROOT = Path(__file__).parents[3]
HEAD = "name: one\nquestion: Why?\nkind: plan\nwork: 100\n"
QUICK = HEAD + "graph: {family: chain, length: 8}\nsweep: {seed: [1, 2, 3, 4]}\n"
SLOW = (
    HEAD.replace("work: 100", "work: 10000000")
    + "graph: {family: layered, layers: 60, width: 4}\nbudget: 0.3x\nsweep: {seed: [1, 2, 3]}\n"
)


def written(folder, text):
    path = folder / "one.yaml"
    path.write_text(text)
    return path


def swept(folder, text, *overrides, **options):
    console = Console(file=StringIO(), width=200)
    code = sweep(written(folder, text), overrides, Options(out=folder / "run", **options), console)
    return code, console.file.getvalue()


def lines(folder):
    return list(read_records(folder / "run" / RESULTS))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    code, said = swept(folder, QUICK)
    assert code == 0
    return folder, said


def test_every_point_is_a_line(finished):
    folder, said = finished
    _, records = read_run(folder / "run")
    assert [record["config"]["seed"] for record in records] == [1, 2, 3, 4]
    assert "4 points in" in said
    for record in records:
        assert record["status"] == "ok"
        assert record["result"]["status"] == "optimal"
        assert record["seed"] == record["config"]["seed"]
        assert {"python", "numpy", "ortools"} <= set(record["versions"])
        assert {"id", "commit", "machine", "started", "seconds", "peak_bytes"} <= set(record)


def test_finished_points_do_not_run_again(finished):
    folder, _ = finished
    before = (folder / "run" / RESULTS).read_bytes()
    code, said = swept(folder, QUICK)
    assert code == 0
    assert "4 of 4 points are finished already" in said
    assert (folder / "run" / RESULTS).read_bytes() == before


def test_only_what_is_missing_runs(finished, tmp_path):
    folder, _ = finished
    half = (folder / "run" / RESULTS).read_bytes().splitlines(keepends=True)[:2]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/experiment.json").write_bytes((folder / "run/experiment.json").read_bytes())
    (tmp_path / "run" / RESULTS).write_bytes(b"".join(half))
    code, _ = swept(tmp_path, QUICK)
    assert code == 0
    after = (tmp_path / "run" / RESULTS).read_bytes()
    assert after.startswith(b"".join(half))
    assert sorted(r["config"]["seed"] for r in lines(tmp_path)) == [1, 2, 3, 4]


def test_the_same_seed_gives_the_same_result(finished, tmp_path):
    folder, _ = finished
    swept(tmp_path, QUICK, "seed=[2]")
    timed = {"solve_seconds", "load_seconds"}
    (again,) = lines(tmp_path)
    first = next(r for r in lines(folder) if r["seed"] == 2)
    for key in set(again["result"]) - timed:
        assert again["result"][key] == first["result"][key]


def test_a_failure_is_a_result_and_the_others_go_on(tmp_path):
    text = HEAD + (
        "graph: {family: chain, length: 8}\npoints:\n"
        "  - {graph: {family: file, file: missing.json}}\n  - {seed: 1}\n"
    )
    code, said = swept(tmp_path, text)
    assert code == 1
    assert "1 failed (--retry runs them again)" in said
    failed, fine = sorted(lines(tmp_path), key=lambda r: r["status"])
    assert (failed["status"], fine["status"]) == ("failed", "ok")
    assert failed["error"]["type"] == "InvalidProblem"
    assert "missing.json: cannot be read" in failed["error"]["message"]
    code, said = swept(tmp_path, text)
    assert code == 1
    assert "2 of 2 points are finished already" in said
    assert len(lines(tmp_path)) == 2
    swept(tmp_path, text, retry=True)
    assert len(lines(tmp_path)) == 3


def test_a_point_that_takes_too_long_is_stopped(tmp_path):
    code, _ = swept(tmp_path, SLOW + "time_limit: 0.3s\n", "seed=1")
    assert code == 1
    (record,) = lines(tmp_path)
    assert record["error"] == {
        "type": "TimeLimit",
        "message": "stopped after its time limit of 0.3 s",
    }
    assert record["seconds"] >= 0.3


def test_a_point_that_takes_too_much_memory(tmp_path):
    text = HEAD + "graph: {family: transformer, layers: 20000}\nmemory_limit: 1MiB\n"
    code, _ = swept(tmp_path, text)
    assert code == 1
    (record,) = lines(tmp_path)
    assert record["error"]["type"] == "MemoryLimit"
    assert "more than its memory limit of 1048576 bytes" in record["error"]["message"]


def command(folder, *more):
    code = "import sys; from experiments import cli; from cyclopts import App\n"
    code += "app = App(result_action='return_value')\napp.command(cli.sweep)\n"
    code += "sys.exit(app(sys.argv[1:]))"
    words = ["sweep", str(folder / "one.yaml"), "--out", str(folder / "run"), "--jobs", "2", *more]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def one_finished(folder, process, seconds=120):
    """Wait until the first point of a sweep is on the disk and others are at work."""
    path = folder / "run" / RESULTS
    for _ in range(seconds * 20):
        if path.exists() and path.read_bytes().endswith(b"\n"):
            return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("no point has finished")


def children_of(group):
    """Processes whose environment names the folder: the points of that sweep."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"SWEEP_TEST={group}".encode() in environment and state != "Z":
                found.append(int(entry.name))
    return found


MIXED = SLOW.replace("sweep: {seed: [1, 2, 3]}\n", "") + (
    "points:\n  - {graph: {family: chain, length: 8}, work: 100}\n  - {seed: 2}\n  - {seed: 3}\n"
)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_stops_a_sweep_loses_nothing_and_leaves_nothing(tmp_path, monkeypatch, how):
    monkeypatch.setenv("SWEEP_TEST", str(tmp_path))
    written(tmp_path, MIXED)
    process = command(tmp_path)
    one_finished(tmp_path, process)
    time.sleep(1)  # the line may be written and not synced yet: then its point does not count
    process.send_signal(how)
    said, _ = process.communicate(timeout=60)
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == INTERRUPTED
        assert "interrupted; 1 finished points are kept" in said
    assert [record["config"]["work"] for record in lines(tmp_path)] == [100]
    assert {p.name for p in (tmp_path / "run").iterdir()} == {LOCK, RESULTS, "experiment.json"}
    for _ in range(200):
        if not children_of(tmp_path):
            break
        time.sleep(0.05)
    assert children_of(tmp_path) == []
    # the same command goes on: a limit makes the rest short, and does not change what it is
    code, said = swept(tmp_path, MIXED + "time_limit: 0.2s\n")
    assert "1 of 3 points are finished already" in said
    assert [r["status"] for r in lines(tmp_path)] == ["ok", "failed", "failed"]
    assert code == 1


def test_no_jobs_at_all(tmp_path):
    with pytest.raises(SweepError, match="at least 1, not 0"):
        swept(tmp_path, QUICK, jobs=0)
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_makes_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="unknown key"):
        swept(tmp_path, QUICK + "colour: red\n")
    assert not (tmp_path / "run").exists()


def test_tables_for_others(finished, tmp_path):
    folder, _ = finished
    assert export_run(folder / "run", tmp_path / "t.csv") == 4
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["config.seed"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[0]["result.overhead_percent"]) == 0.0
    with pytest.raises(ExportError, match=r"ends in .csv or .parquet"):
        export_run(folder / "run", tmp_path / "t.xlsx")
    assert not (tmp_path / "t.xlsx").exists()


def test_parquet_has_the_same_rows(finished, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    folder, _ = finished
    assert export_run(folder / "run", tmp_path / "t.parquet") == 4
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert list(frame["config.seed"]) == [1, 2, 3, 4]
    assert list(frame["id"]) == [r["id"] for r in read_run(folder / "run")[1]]


def test_a_record_is_plain_json(finished):
    folder, _ = finished
    for line in (folder / "run" / RESULTS).read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
