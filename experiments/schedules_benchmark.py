"""Schedules of loops: step evaluations and seconds to make them, ours and `checkpoint_schedules`.

    python -m experiments.schedules_benchmark
    python -m experiments.schedules_benchmark --quick

Every schedule is replayed by the same referee, which counts; the step that is reversed starts from
its own state, so advances alone are counted. Slots include the input of the loop, which for us is
always there: theirs may give it up for something else in the end, and with two levels keep it in
slow memory. *make* is the time from nothing to the first action (for us the first piece of a tape),
*all* the time to the last one; both sides take turns in one process, and medians are given. Both
are compiled before the clock starts, and our tables are forgotten between repetitions.

The first table holds optimality: schedules are written out and counted, against the recurrence for
equal steps, worked out without its closed form, and against a search over everything that may be
stored where residuals or slow memory play a part. The last table is planning alone. Its gap is in
time there and back, if a step with its residuals takes as long as one without, and its reverse
twice as long.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import checkpoint_schedules as theirs
import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

from experiments.every_schedule import least
from policies.adapters.checkpoint_schedules import from_actions
from policies.loops import (
    Binomial,
    Kind,
    Mixed,
    Online,
    Schedule,
    TwoLevel,
    replay,
    two_level_table,
)
from policies.loops import mixed as mixed_module
from policies.loops.referee import Replay

RAM = theirs.StorageType.RAM

app = App(name="schedules_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Contest:
    """Two ways to do the same.

    Attributes:
        what: they do.
        length: steps of the loop.
        ours: our schedule.
        others: theirs, by name.
        transfer_steps: time of a write or a read of slow memory, in steps.
    """

    what: str
    length: int
    ours: Schedule
    others: dict[str, Callable[[], Any]]
    transfer_steps: float = 0.0


def contests(quick: bool) -> Iterator[Contest]:
    """What is compared."""
    sizes = [(100, 10), (300, 10)] if quick else [(100, 10), (1000, 10), (1000, 30), (10000, 30)]
    for length, slots in sizes:
        others: dict[str, Callable[[], Any]] = {
            "Multistage": lambda n=length, s=slots: theirs.MultistageCheckpointSchedule(n, s, 0)
        }
        if length <= 1000:
            others["Revolve"] = lambda n=length, s=slots: theirs.Revolve(n, s)
        yield Contest(f"{slots} slots", length, Binomial(length, slots), others)
    for length, slots in sizes:
        yield Contest(
            f"{slots} slots, length unknown",
            length,
            Online(length, slots),
            {"Multistage, length known": lambda n=length, s=slots: (
                theirs.MultistageCheckpointSchedule(n, s, 0)
            )},
        )  # fmt: skip
    for length, slots in sizes:
        yield Contest(
            f"{slots} states or residuals",
            length,
            Mixed(length, slots - 1, 1, 1),
            {"Mixed": lambda n=length, s=slots: (
                theirs.MixedCheckpointSchedule(n, s, storage=RAM)
            )},
        )  # fmt: skip
    for length, fast, slow in [(60, 3, 4)] if quick else [(60, 3, 4), (200, 5, 10)]:
        yield Contest(
            f"{fast} slots, {slow} slow, copies 2 steps",
            length,
            TwoLevel(length, fast, slow - 1, 2.0, 2.0),
            {
                "HRevolve": lambda n=length, f=fast, d=slow: theirs.HRevolve(
                    n, f, d, wd=2.0, rd=2.0
                ),
                "Multistage": lambda n=length, f=fast, d=slow: theirs.MultistageCheckpointSchedule(
                    n, f, d
                ),
            },
            transfer_steps=2.0,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """What one side did.

    Attributes:
        name: of the schedule.
        done: as the referee counted it.
        make_seconds: to the first action, the median.
        all_seconds: to the last one.
    """

    name: str
    done: Replay
    make_seconds: float
    all_seconds: float


def run(contest: Contest, repeats: int) -> list[Row]:
    """Take turns, ours first."""
    times: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeats):
        times.setdefault("ours", []).append(_ours(contest.ours))
        for name, make in contest.others.items():
            times.setdefault(name, []).append(_theirs(make))
    done = {"ours": replay(contest.ours, contest.length)}
    for name, make in contest.others.items():
        done[name] = replay(from_actions(make(), contest.length), contest.length)
    return [
        Row(
            type(contest.ours).__name__ if name == "ours" else name,
            done[name],
            statistics.median(first for first, _ in found),
            statistics.median(last for _, last in found),
        )
        for name, found in times.items()
    ]


def _ours(schedule: Schedule) -> tuple[float, float]:
    mixed_module.forget()
    two_level_table.forget()
    began = time.perf_counter()
    pieces = schedule.tapes()
    next(pieces)
    first = time.perf_counter() - began
    for _ in pieces:
        pass
    return first, time.perf_counter() - began


def _theirs(make: Callable[[], Any]) -> tuple[float, float]:
    began = time.perf_counter()
    actions = iter(make())
    next(actions)
    first = time.perf_counter() - began
    for action in actions:
        if isinstance(action, theirs.EndReverse):
            break
    return first, time.perf_counter() - began


LONG = {(1000, 30): 2472, (1000, 100): 1898, (10_000, 30): 34_016, (10_000, 100): 24_747}
"""Published optima of P(n, s)."""

SIZES = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 3)]
TIMES = [(0.0, 0.0), (0.5, 0.5), (2.0, 1.0), (0.25, 3.0)]


def recurrence(longest: int) -> np.ndarray[Any, Any]:
    """P(n, s) for n up to a length and as many slots, i64[n + 1, s + 1]."""
    table = np.zeros((longest + 1, longest + 1), np.int64)
    table[:, 1] = [n * (n - 1) // 2 for n in range(longest + 1)]
    for s in range(2, longest + 1):
        for n in range(2, longest + 1):
            k = np.arange(1, n)
            table[n, s] = (k + table[n - k, s - 1] + table[k, s]).min()
    return table


def optima(longest: int) -> Table:
    """How many schedules are no optimum, of all small ones and some long ones."""
    table = Table(title="schedules that are not optimal")
    for name in ("schedules", "against", "number", "not optimal", "seconds"):
        table.add_column(name, justify="left" if name in {"schedules", "against"} else "right")

    def row(name: str, against: str, cases: Iterator[tuple[float, float]]) -> None:
        began = time.perf_counter()
        missed = [abs(found - wanted) > 1e-9 for found, wanted in cases]
        seconds = f"{time.perf_counter() - began:.1f}"
        table.add_row(name, against, f"{len(missed)}", f"{sum(missed)}", seconds)

    def counted(length: int, slots: int) -> float:
        tape = Binomial(length, slots).tape()
        moved = tape[tape[:, 0] == Kind.ADVANCE]
        return float((moved[:, 2] - moved[:, 1]).sum())

    known = recurrence(longest)
    small = [(n, s) for n in range(1, longest + 1) for s in range(1, n + 1)]
    name = f"Binomial, n = 1..{longest}, every number of slots"
    row(name, "the recurrence", ((counted(n, s), float(known[n, s])) for n, s in small))
    row(
        f"Binomial, {', '.join(f'({n}, {s})' for n, s in LONG)}",
        "published",
        ((counted(n, s), float(wanted)) for (n, s), wanted in LONG.items()),
    )
    row(
        "Mixed, n = 1..6, 0..6 units, five pairs of sizes",
        "every schedule",
        (
            (
                float(replay(Mixed(n, units, *sizes), n).advances),
                least(n, fast=units, carry=sizes[0], residual=sizes[1]),
            )
            for sizes in SIZES
            for n in range(1, 7)
            for units in range(7)
        ),
    )
    row(
        "TwoLevel, n = 1..6, 0..2 fast, 0..2 slow, four pairs of times",
        "every schedule",
        (
            (
                TwoLevel(n, fast, slow, *times).steps,
                least(n, fast=fast, slow=slow, times=(1.0, *times)),
            )
            for times in TIMES
            for n in range(1, 7)
            for fast in range(3)
            for slow in range(3)
        ),
    )
    return table


def plans() -> Table:
    """Planning alone, from nothing, for short and long loops: how long it takes, how good it is."""
    table = Table(title="planning, and time above its certified bound")
    for name in ("schedule", "ms", "advances", "fewest", "gap %"):
        table.add_column(name, justify="left" if name == "schedule" else "right")
    schedules: list[Schedule] = [Binomial(length, 30) for length in (10**4, 10**7)]
    schedules += [Mixed(1000, units, 1, 6) for units in (30, 300, 2900)]
    schedules += [Mixed(length, 30, 1, 6) for length in (10**4, 10**5, 10**6, 10**7)]
    schedules += [Mixed(length, 3000, 7, 45) for length in (10**4, 10**7)]
    schedules += [TwoLevel(length, 30, 100, 2.0, 2.0) for length in (10**4, 10**7)]
    for schedule in schedules:
        mixed_module.forget()
        two_level_table.forget()
        began = time.perf_counter()
        advances = schedule.advances
        next(schedule.tapes())
        seconds = time.perf_counter() - began
        back = 3 * schedule.length
        took, least = float(advances), float(schedule.fewest)
        if isinstance(schedule, TwoLevel):
            took, least = schedule.steps, schedule.fewest_steps
        table.add_row(
            str(schedule),
            f"{1e3 * seconds:.1f}",
            f"{advances}",
            f"{schedule.fewest}",
            f"{100 * ((took + back) / (least + back) - 1):.2f}",
        )
    return table


@app.default
def main(*, quick: bool = False, repeats: int = 3) -> None:
    """Run all contests and print them.

    Args:
        quick: short loops only.
        repeats: of each side.
    """
    console = Console(width=120)
    console.print(optima(40 if quick else 200))
    table = Table(title="step evaluations and construction")
    for name in ("loop", "schedule", "advances", "time in steps", "make ms", "all ms", "ratio"):
        table.add_column(name, justify="left" if name in {"loop", "schedule"} else "right")
    for make in (  # compiled now
        lambda: theirs.MultistageCheckpointSchedule(20, 3, 0),
        lambda: theirs.MixedCheckpointSchedule(20, 3, storage=RAM),
    ):
        _theirs(make)
    for contest in contests(quick):
        _ours(contest.ours)  # likewise
        rows = run(contest, repeats)
        for row in rows:
            moved = contest.transfer_steps * (row.done.reads + row.done.writes)
            table.add_row(
                f"{contest.length} steps, {contest.what}" if row is rows[0] else "",
                row.name,
                f"{row.done.advances}",
                f"{row.done.advances + moved:g}",
                f"{1e3 * row.make_seconds:.2f}",
                f"{1e3 * row.all_seconds:.2f}",
                f"{row.all_seconds / rows[0].all_seconds:.1f}",
            )
        table.add_section()
    console.print(table)
    plans()  # compiled now
    console.print(plans())


if __name__ == "__main__":
    app()
