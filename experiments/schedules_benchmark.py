"""Schedules of loops: step evaluations and seconds to make them, ours and `checkpoint_schedules`.

    python -m experiments.schedules_benchmark
    python -m experiments.schedules_benchmark --quick

Every schedule is replayed by the same referee, which counts; the step that is reversed starts from
its own state, so advances alone are counted. Slots include the input of the loop, which for us is
always there: theirs may give it up for something else in the end, and with two levels keep it in
slow memory. *make* is the time from nothing to the first action (for us the first piece of a tape),
*all* the time to the last one; both sides take turns in one process, and medians are given. Both
are compiled before the clock starts, and our tables are forgotten between repetitions.

The second table is planning alone. Its gap is in time there and back, if a step with its residuals
takes as long as one without, and its reverse twice as long.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import checkpoint_schedules as theirs
from cyclopts import App
from rich.console import Console
from rich.table import Table

from policies.adapters.checkpoint_schedules import from_actions
from policies.loops import Binomial, Mixed, Online, Schedule, TwoLevel, replay, two_level_table
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
    console = Console(width=120)
    console.print(table)
    plans()  # compiled now
    console.print(plans())


if __name__ == "__main__":
    app()
