"""How good are plans for two stages: recorded workflows, and a query on Dask chunks.

    python -m experiments.staging_benchmark ../shared/bench/workflows

Workflows: of every instance in the folder and every class of tasks, that class is varied. Ten runs
anew, kept files loaded at 100 MB/s in each, and room for 50, 20 and 5 % of the bytes of the naive
frontier (all files that a varied task reads from another). Late seconds are those of all runs
anew. Dask: an array less its mean, asked how much of it is beyond a threshold; between holding the
mean alone and holding all chunks every budget gets a plan, whose seconds per query are predicted
and measured.
"""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

from policies import Budget, Limits, Problem, solve
from policies.adapters.wfcommons import classes, load
from policies.keep_rules import RULES
from policies.keeping import keeping, two_stages
from policies.units import format_bytes

PARTS = (0.5, 0.2, 0.05)
COMPARED = tuple(rule for rule in RULES if rule != "keep_read")
"""Rules that keep within any cap."""

app = App(name="staging_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Case:
    """One instance, varied class and cap.

    Attributes:
        instance: file name without its ending.
        vary: the class.
        tasks: how many there are.
        part: of the bytes of the naive frontier.
        rest_bytes: the cap.
        late_seconds: of our plan.
        bound_seconds: no plan within the cap has less.
        gap_percent: late seconds above their bound.
        solve_seconds: wall time.
        status: optimal, feasible or time_limit.
        excess_percent: late seconds of each rule above ours.
    """

    instance: str
    vary: str
    tasks: int
    part: float
    rest_bytes: int
    late_seconds: float
    bound_seconds: float
    gap_percent: float
    solve_seconds: float
    status: str
    excess_percent: dict[str, float]


def cases(folder: Path, time_limit: float) -> Iterator[Case]:
    """Plan every case of a folder."""
    for path in sorted(folder.glob("*.json")):
        for vary in classes(path):
            problem = load(path, vary)
            stages = two_stages(problem)
            naive = int(stages.rest_bytes[stages.need & ~stages.free].sum())
            if naive == 0:  # nothing known is read: there is nothing to decide
                continue
            for part in PARTS:
                capped = problem.with_budget(Budget(rest=int(part * naive)))
                yield _case(path.stem, vary, part, capped, time_limit)


def _case(instance: str, vary: str, part: float, problem: Problem, time_limit: float) -> Case:
    early = two_stages(problem).early_seconds
    began = time.perf_counter()
    found = solve(problem, limits=Limits(time_seconds=time_limit))
    seconds = time.perf_counter() - began
    late = found.seconds - early
    least = found.bound_seconds - early
    excess = {rule: _above(solve(problem, rule).seconds - early, late) for rule in COMPARED}
    return Case(
        instance=instance,
        vary=vary,
        tasks=len(problem.graph),
        part=part,
        rest_bytes=problem.limit.rest or 0,
        late_seconds=late,
        bound_seconds=least,
        gap_percent=_above(late, least),
        solve_seconds=seconds,
        status=found.status.value,
        excess_percent=excess,
    )


def _above(seconds: float, base: float) -> float:
    """Percent by which one time is above another."""
    if base <= 0:
        return 0.0 if seconds <= 0 else float("inf")
    return 100 * (seconds / base - 1)


def workflow_tables(found: list[Case]) -> list[Table]:
    """Gaps by instance, and what the rules of thumb lose."""
    gaps = Table(title="plans for recorded workflows")
    for name in ("instance", "tasks", "cases", "optimal", "gap % median", "p90", "max", "s max"):
        gaps.add_column(name, justify="left" if name == "instance" else "right")
    by_instance: dict[str, list[Case]] = defaultdict(list)
    for case in found:
        by_instance[case.instance].append(case)
    for name, mine in [*by_instance.items(), ("all", found)]:
        gap = [case.gap_percent for case in mine]
        gaps.add_row(
            name,
            "" if name == "all" else str(mine[0].tasks),
            str(len(mine)),
            str(sum(case.status == "optimal" for case in mine)),
            f"{np.median(gap):.4f}",
            f"{np.percentile(gap, 90):.4f}",
            f"{max(gap):.4f}",
            f"{max(case.solve_seconds for case in mine):.2f}",
        )
    rules = Table(title="late seconds of rules of thumb above ours, %")
    for name in ("rule", "median", "p90", "max", "> 1 %", "> 10 %", "better than ours"):
        rules.add_column(name, justify="left" if name == "rule" else "right")
    for rule in COMPARED:
        above = [case.excess_percent[rule] for case in found]
        rules.add_row(
            rule,
            f"{np.median(above):.2f}",
            f"{np.percentile(above, 90):.2f}",
            f"{max(above):.2f}",
            str(sum(x > 1 for x in above)),
            str(sum(x > 10 for x in above)),
            str(sum(x < -1e-6 for x in above)),
        )
    return [gaps, rules]


@dataclass(frozen=True, slots=True)
class Query:
    """One budget of the Dask example.

    Attributes:
        memory_bytes: the cap on what is held between queries.
        held_bytes: what the plan holds.
        held_chunks: how many keys that is.
        predicted_seconds: of one query.
        measured_seconds: median of several.
        off_percent: measured above predicted.
    """

    memory_bytes: int
    held_bytes: int
    held_chunks: int
    predicted_seconds: float
    measured_seconds: float
    off_percent: float


def dask_queries(rows: int, chunks: int, steps: int, clock: Any, repeats: int = 5) -> list[Query]:
    """Plan and measure the centring example between holding the mean alone and all chunks."""
    import dask.array as da

    from policies.adapters.dask_graph import Profile, apply, measure, problem, typical

    source = da.random.RandomState(0).normal(10, 1, size=(rows, 10), chunks=(rows // chunks, 10))
    centred = source - source.mean(axis=0)

    def query(array: Any, threshold: float) -> Any:
        return (abs(array) > threshold).sum()

    example, late = query(centred, 1.5), abs(centred).name
    first = measure(example, repeats=repeats, clock=clock)
    mean_only = 10 * 8
    whole = problem([example], [late], first, calls=5)
    most = solve(whole)
    everything = keeping(whole, most.kept or {}).rest_bytes
    planned: list[tuple[int, Any, Any]] = []
    for step in range(steps + 1):
        memory = mean_only + everything * step // steps
        decision = solve(whole.with_budget(Budget(rest=memory)))
        (held,) = apply(decision, [centred])
        planned.append((memory, decision.kept or {}, held))
    ends = (planned[0][2], planned[-1][2])
    seen: dict[int, list[float]] = defaultdict(list)
    profiles: list[Profile] = []
    answers: set[int] = set()
    for _ in range(repeats):  # in turns, so that what disturbs the machine disturbs all alike
        profiles += [measure(query(held, 1.5), repeats=1, clock=clock) for held in ends]
        for memory, _, held in planned:
            asked = query(held, 1.5)
            began = clock()
            answer = asked.compute(scheduler="synchronous", optimize_graph=False)
            seen[memory].append(clock() - began)
            answers.add(int(answer))
    # what a task costs in a query, where tasks ran again; else what it cost at first
    costs = first.updated(typical(*profiles))
    priced = problem([example], [late], costs, calls=5)
    if len(answers) != 1:
        raise AssertionError(f"plans changed the answer: {answers}")
    found: list[Query] = []
    for memory, kept, _ in planned:
        bill = keeping(priced, kept)
        measured = statistics.median(seen[memory])
        off = _above(measured, bill.late_seconds)
        found.append(Query(memory, bill.rest_bytes, len(kept), bill.late_seconds, measured, off))
    return found


def dask_table(found: list[Query]) -> Table:
    """Predicted and measured seconds per query."""
    table = Table(title="Dask: seconds per query against memory held between queries")
    for name in ("memory", "held", "keys", "predicted s", "measured s", "off %"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            format_bytes(one.memory_bytes),
            format_bytes(one.held_bytes),
            str(one.held_chunks),
            f"{one.predicted_seconds:.3f}",
            f"{one.measured_seconds:.3f}",
            f"{one.off_percent:+.1f}",
        )
    return table


@app.default
def main(
    folder: Path | None = None,
    *,
    only: Literal["workflows", "dask"] | None = None,
    time_limit: float = 20.0,
    rows: int = 2_000_000,
    chunks: int = 20,
    steps: int = 5,
    cpu_time: bool = False,
    out: Path | None = None,
) -> None:
    """Print the tables.

    Args:
        folder: of WfCommons instances; without it, Dask alone.
        only: one of the two parts.
        time_limit: seconds for each plan.
        rows: of the Dask array, ten doubles each.
        chunks: of the Dask array.
        steps: budgets between holding the mean alone and holding everything.
        cpu_time: measure Dask by the time of this process, where others use the machine too.
        out: also write all figures to this file, as JSON.
    """
    console = Console(width=110)
    figures: dict[str, Any] = {}
    if folder is not None and only != "dask":
        found = list(cases(folder, time_limit))
        figures["workflows"] = [asdict(case) for case in found]
        for table in workflow_tables(found):
            console.print(table)
    if only != "workflows":
        clock = time.process_time if cpu_time else time.perf_counter
        queries = dask_queries(rows, chunks, steps, clock)
        figures["dask"] = [asdict(one) for one in queries]
        console.print(dask_table(queries))
    if out is not None:
        out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    app()
