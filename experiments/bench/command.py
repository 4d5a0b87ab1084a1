"""Runs every measurement in a process of its own and puts what they say together."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from rich.console import Console

import ckpt
from ckpt.files import write_text
from experiments.bench.report import plot, table_of
from experiments.bench.suite import SUITE
from experiments.result import machine, versions


class BenchError(ckpt.CkptError, RuntimeError):
    """A workload is not known, or a process that measures failed; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One workload. Seconds are medians of a gradient step, bytes are beyond its inputs.

    Attributes:
        name: of the workload.
        seconds: by contestant.
        cpu_seconds: the same of the processor, all threads together.
        errors: of gradients against ours, by contestant.
        tolerance: what errors may be.
        bytes: of a step: ours as planned, of JAX as XLA says, of PyTorch as seen.
        high_water_bytes: the same as the process's high-water mark shows.
        arena_ratio: our arena over the most bytes alive in it.
        predicted_seconds: of our step, by the device's rates.
        compile_seconds: of the first call beyond a steady one: ours with nothing on disk
            ("cold"), ours in a second process ("warm"), and JAX's.
    """

    name: str
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    errors: dict[str, float]
    tolerance: float
    bytes: dict[str, int]
    high_water_bytes: dict[str, int]
    arena_ratio: float
    predicted_seconds: float
    compile_seconds: dict[str, float]

    @property
    def agrees(self) -> bool:
        """Whether all gradients do."""
        return all(error <= self.tolerance for error in self.errors.values())

    def ratio(self, other: str) -> float:
        """Seconds of another over ours."""
        return self.seconds[other] / self.seconds["ours"]

    def cpu_ratio(self, other: str) -> float:
        """The same of processor seconds."""
        return self.cpu_seconds[other] / self.cpu_seconds["ours"]


def measure(name: str, threads: int, repeat: int, *, compiled: bool = False) -> Row:
    """All measurements of one workload.

    Raises:
        BenchError: one of them failed.
    """
    contest = _worker(("contest", name, str(threads), str(repeat), str(int(compiled))))
    with tempfile.TemporaryDirectory() as folder:
        nothing_kept = {"CKPT_CACHE_DIR": folder, "NUMBA_CACHE_DIR": folder}
        cold, warm = (
            _worker(("alone-ours", name, str(threads)), nothing_kept) for _ in ("cold", "warm")
        )
    others = {who: _worker((f"alone-{who}", name, str(threads))) for who in ("jax", "torch")}
    alone = {"ours": warm, **others}
    scores = contest["scores"]
    beyond = {"cold": cold, "warm": warm, "jax": others["jax"]}
    return Row(
        name=name,
        seconds={who: score["seconds"] for who, score in scores.items()},
        cpu_seconds={who: score["cpu_seconds"] for who, score in scores.items()},
        errors={who: score["error"] for who, score in scores.items()},
        tolerance=contest["tolerance"],
        bytes={who: said["bytes"] for who, said in alone.items()},
        high_water_bytes={who: said["high_water_bytes"] for who, said in alone.items()},
        arena_ratio=warm["arena_bytes"] / max(warm["live_bytes"], 1),
        predicted_seconds=contest["predicted_seconds"],
        compile_seconds={
            who: said["first_seconds"] - said["steady_seconds"] for who, said in beyond.items()
        },
    )


def _worker(args: Sequence[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
    command = [sys.executable, "-m", "experiments.bench.worker", *args]
    done = subprocess.run(  # noqa: S603
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["(it said nothing)"])[-1]
        raise BenchError(f"{' '.join(args)} failed: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_bench(
    names: Sequence[str],
    *,
    threads: int | None,
    repeat: int,
    compiled: bool,
    as_json: bool,
    out: Path,
) -> int:
    """Measure, print, and write `bench.json` and `bench.png`.

    Raises:
        BenchError: a name is not one of the suite, or a measurement failed.
    """
    unknown = [name for name in names if name not in SUITE]
    if unknown:
        raise BenchError(f"{unknown[0]!r} is not a workload; they are {', '.join(SUITE)}")
    threads = threads or ckpt.threads()
    console = Console(stderr=as_json)
    rows: list[Row] = []
    failed: list[str] = []
    for name in names or SUITE:
        try:
            with console.status(f"{name}: measuring"):
                rows.append(measure(name, threads, repeat, compiled=compiled))
        except BenchError as error:
            failed.append(f"{name}: {error}")
            console.print(failed[-1], highlight=False)
        else:
            console.print(f"{name}: {_in_short(rows[-1])}", highlight=False)
    if not rows:
        raise BenchError("; ".join(failed))
    found = report(rows, threads)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=2) + "\n"
    write_text(out / "bench.json", text)
    plot(rows, out / "bench.png")
    if as_json:
        print(text, end="")
    else:
        Console(width=max(console.width, 190)).print(table_of(rows, threads))
    if failed:
        raise BenchError(f"the other rows are in {out}; {'; '.join(failed)}")
    return 0 if all(row.agrees for row in rows) else 1


def _in_short(row: Row) -> str:
    others = (f"{row.ratio(who):.2f}x {who}" for who in row.seconds if who != "ours")
    return f"{1e3 * row.seconds['ours']:.2f} ms, {', '.join(others)}"


def report(rows: Sequence[Row], threads: int) -> dict[str, Any]:
    """What was measured, as JSON can hold it."""
    others = ("jax", "torch")
    return {
        "rows": [
            {field: getattr(row, field) for field in Row.__slots__}
            | {"ratios": {who: row.ratio(who) for who in others}, "agrees": row.agrees}
            for row in rows
        ],
        "geometric_means": {who: geometric_mean(row.ratio(who) for row in rows) for who in others},
        "threads": threads,
        "versions": versions(),
        "machine": machine(),
    }
