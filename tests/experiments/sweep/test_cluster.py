"""Sweeps on a real Dask scheduler and workers on loopback, some of them killed half-way."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from experiments.sweep.cluster import ClusterError
from experiments.sweep.run import Options, sweep
from experiments.sweep.store import RESULTS, read_records

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]

# a second of work each, so that one is always at work on every worker
TEXT = """\
name: one
question: Why?
kind: plan
graph: {family: layered, layers: 12, width: 4}
policy: auto
budget: 0.5x
work: 1000
sweep: {seed: [1, 2, 3, 4, 5, 6]}
"""


@contextmanager
def started(folder, n_workers):
    """A scheduler and workers: their processes, and where the scheduler is."""
    file = folder / "scheduler.json"
    tell = ["--scheduler-file", str(file)]
    log = (folder / "log").open("w")

    def start(module, *words):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *tell, *words]
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    workers = []
    try:
        for _ in range(600):
            if file.exists() and file.read_text().strip():
                break
            assert scheduler.poll() is None
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        for _ in range(n_workers):
            workers.append(start("dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"))
        yield scheduler, workers, address
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()
        log.close()


class Hook(StringIO):
    """A place to print to that does something after the first finished point."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def write(self, text):
        if self.act is not None and " ok " in text:
            act, self.act = self.act, None
            act()
        return super().write(text)


def swept(folder, address, act):
    (folder / "one.yaml").write_text(TEXT)
    console = Console(file=Hook(act), width=200)
    options = Options(out=folder / "run", dask=address)
    return sweep(folder / "one.yaml", (), options, console)


def test_a_worker_that_is_killed_loses_no_point(tmp_path):
    with started(tmp_path, 2) as (_, workers, address):
        code = swept(tmp_path, address, lambda: workers[0].send_signal(signal.SIGKILL))
        assert workers[0].wait(timeout=10) == -signal.SIGKILL
    records = list(read_records(tmp_path / "run" / RESULTS))
    assert code == 0
    assert sorted(record["config"]["seed"] for record in records) == [1, 2, 3, 4, 5, 6]
    assert {record["status"] for record in records} == {"ok"}
    assert all(record["worker"].startswith("tcp://") for record in records)


def test_a_scheduler_that_is_lost_loses_no_finished_point(tmp_path):
    said = "was lost .*run the same command again"
    with (
        started(tmp_path, 1) as (scheduler, _, address),
        pytest.raises(ClusterError, match=said),
    ):
        swept(tmp_path, address, lambda: scheduler.send_signal(signal.SIGKILL))
    before = (tmp_path / "run" / RESULTS).read_bytes()
    assert before.endswith(b"\n")
    console = Console(file=StringIO(), width=200)
    options = Options(out=tmp_path / "run")
    assert sweep(tmp_path / "one.yaml", (), options, console) == 0
    after = (tmp_path / "run" / RESULTS).read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 6


def test_no_scheduler(tmp_path):
    with pytest.raises(ClusterError, match="no Dask scheduler answers at localhost:1"):
        swept(tmp_path, "localhost:1", None)
    with pytest.raises(ClusterError, match="no Dask scheduler answers at nowhere"):
        swept(tmp_path, "nowhere", None)
