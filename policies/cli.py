"""``solve`` and ``frontier`` for graph files, from the command line."""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from policies.budget import LARGEST_BYTES, Budget
from policies.errors import Infeasible, InvalidProblem, PolicyError
from policies.kept_report import KeptReport
from policies.policy import Limits, Progress, Step
from policies.problem import Link
from policies.serialize import decision_to_json, read_problem, schedule_to_json
from policies.solve import solve as solve_problem
from policies.unheard import unheard
from policies.units import format_bytes, format_seconds, parse_rate, parse_seconds

if TYPE_CHECKING:
    from policies.decision import Decision
    from policies.problem import Problem

__all__ = ["app", "main"]

QUIET_SECONDS = 2.0
INFEASIBLE, WRONG, INTERRUPTED = 1, 2, 130

app = App(name="policies", help="Plans under a memory budget for any dataflow graph.")


@app.command
def solve(
    graph: Path,
    *,
    budget: str | None = None,
    order: Literal["fixed", "free"] = "fixed",
    link: str | None = None,
    duplex: Annotated[bool | None, Parameter(negative="--no-duplex")] = None,
    time_limit: str | None = None,
    work: int = Limits().work,
    seed: int = 0,
    policy: str = "auto",
    calls: float | None = None,
    rest: str | None = None,
    resident: str | None = None,
    loads: Literal["once", "every_call"] | None = None,
    out: Path | None = None,
    schedule: Path | None = None,
    json: bool = False,
) -> int:
    """Find a plan for a graph that fits a budget.

    With --calls, --rest, --resident or --loads the question is which values of the known
    stage to keep for the unknown one, which runs so many times; --budget is then on the peak of
    one run, and the report says what each kept value saves and what more bytes would buy.

    Args:
        graph: JSON file: node-link JSON of networkx, a public benchmark graph or our own format.
        budget: 0.8x (that part of the no-recomputation peak, rounded up), 12GiB, or bytes; left
            out, the budget of the file.
        order: keep the first executions in the order of the file, or choose the order too.
        link: bandwidth of the link to slow memory in each direction, and what it adds to every
            copy, for example 25GB/s or 25GB/s+10us; values may then be offloaded, or kept values
            loaded. Left out, the link of the file, if it has one.
        duplex: both directions of the link run at once, or share it.
        time_limit: stop after this long, for example 20s or 2min.
        work: stop after so much deterministic work.
        seed: of every random choice.
        policy: auto, or save_all, recompute_all, sqrt, greedy, dtr, knapsack, checkmate,
            checkmate_lp, moccasin, cpsat, exhaustive, chain, nested, offload; for two stages
            staging, or keep_nothing, keep_read, own_density, deep_density, smallest, last_used.
        calls: how often the unknown stage runs.
        rest: cap on all bytes that are kept between the stages, for example 64MB.
        resident: cap on those that stay in memory between runs.
        loads: whether kept values are loaded once and stay, or in every call; once, if the file
            does not say.
        out: write the decision to this file.
        schedule: write the order to this file, as a list of node ids.
        json: print figures for programs instead of a table.

    Returns:
        0, or 1 if no plan was found, or 2 if something is wrong with the input.
    """
    try:
        problem = read_problem(graph, budget=budget, order=order)
        problem = _linked(problem, link, duplex=duplex)
        if any(given is not None for given in (calls, rest, resident, loads)):
            problem = _apart(problem, calls, rest, resident, loads)
        limits = _limits(time_limit, work, seed)
        with _progress() as progress:
            decision = solve_problem(problem, policy, limits=limits, progress=progress)
        if out is not None:
            _write(out, decision_to_json(decision))
        if schedule is not None:
            _write(schedule, schedule_to_json(decision))
    except Infeasible as error:
        return _refused(error, json)
    except (PolicyError, ValueError, OSError) as error:
        return _wrong(error)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted before a plan was found")
        return INTERRUPTED
    if json:
        more = {} if decision.kept is None else KeptReport.of(problem, decision).figures()
        _print({**figures(decision), **more})
    else:
        Console().print(_table(decision, problem))
        if decision.kept is not None:
            report = str(KeptReport.of(problem, decision))
            Console().print(report, markup=False, highlight=False)
    return 0


@app.command
def frontier(
    graph: Path,
    *,
    points: int = 18,
    lowest: float = 0.1,
    order: Literal["fixed", "free"] = "fixed",
    link: str | None = None,
    duplex: Annotated[bool | None, Parameter(negative="--no-duplex")] = None,
    time_limit: str | None = None,
    work: int = Limits().work,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Print and draw how seconds fall as the budget grows.

    Args:
        graph: JSON file.
        points: how many budgets, evenly spaced up to 0.95 of the no-recomputation peak.
        lowest: the first of them, as a part of that peak.
        order: keep the first executions in the order of the file, or choose the order too.
        link: bandwidth of the link to slow memory in each direction, and what it adds to every
            copy, for example 25GB/s or 25GB/s+10us; values may then be offloaded, or kept values
            loaded. Left out, the link of the file, if it has one.
        duplex: both directions of the link run at once, or share it.
        time_limit: stop after this long in all, for example 20s or 2min.
        work: stop after so much deterministic work in all.
        seed: of every random choice.
        out: draw the curve to this file (png, svg or pdf) instead of in the terminal.
        json: print figures for programs instead of a table.

    Returns:
        0, or 2 if something is wrong with the input.
    """
    try:
        if points < 1 or not 0 < lowest <= 0.95:
            raise InvalidProblem("points must be at least 1 and lowest in (0, 0.95]")
        problem = _linked(read_problem(graph, order=order), link, duplex=duplex)
        limits = _limits(time_limit, work, seed)
        step = (0.95 - lowest) / max(1, points - 1)
        fractions = [0.95 - step * index for index in range(points)]
        with _progress() as progress:
            curve = _sweep(problem, fractions, limits, progress)
        if out is not None:
            _draw(curve, out)
    except (PolicyError, ValueError, OSError) as error:
        return _wrong(error)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        return INTERRUPTED
    if json:
        rows = [{"fraction": fraction, **figures(found)} for fraction, found in curve]
        _print(rows)
    else:
        Console().print(_curve(curve))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the commands by themselves.

    Args:
        arguments: of the command line, or None for those of this process.

    Returns:
        The exit status.

    >>> main(["solve", "no-such-file.json"])
    2
    """
    found = app(arguments, result_action="return_value")
    return found if isinstance(found, int) else 0


def figures(found: Decision | Infeasible) -> dict[str, object]:
    """Give the figures that ``--json`` prints.

    >>> figures(Infeasible(7, lower_bound_bytes=8, proved=True))["status"]
    'infeasible'
    """
    if isinstance(found, Infeasible):
        return {
            "status": "infeasible" if found.proved else "not_found",
            "budget": found.budget_bytes,
            "lower_bound_bytes": found.lower_bound_bytes,
            "min_bytes": found.min_bytes,
            "task": None if found.task is None else str(found.task),
            "witness": [[str(name), size] for name, size in found.witness],
        }
    return {
        "status": found.status.value,
        "peak": found.peak_bytes,
        "budget": found.budget_bytes,
        "overhead_percent": 100 * found.overhead,
        "bound_percent": 100 * found.bound_overhead,
        "gap_points": found.gap_points,
        "gap_percent": found.gap_percent,
        "bound_engine": found.bound_engine,
        "solve_seconds": found.solve_seconds,
        "recomputations": found.recomputations,
        "fetches": found.fetches,
        "policy": found.policy,
        "seconds": found.seconds,
        "baseline_seconds": found.baseline_seconds,
    }


def _apart(
    problem: Problem,
    calls: float | None,
    rest: str | None,
    resident: str | None,
    loads: Literal["once", "every_call"] | None,
) -> Problem:
    """The problem with stages apart, as the command line says."""
    limit = problem.limit
    for name, size in (("rest", rest), ("resident", resident)):
        if size is not None:
            limit = replace(limit, **{name: size})  # pyright: ignore[reportArgumentType]
    return replace(
        problem,
        budget=limit,
        calls=problem.calls if calls is None else calls,
        loads=loads or problem.loads or "once",
    )


def _print(document: object) -> None:
    sys.stdout.write(json_module.dumps(document, indent=2) + "\n")


def _limits(time_limit: str | None, work: int, seed: int) -> Limits:
    seconds = None if time_limit is None else parse_seconds(time_limit)
    return Limits(time_seconds=seconds, work=work, seed=seed, keep_on_interrupt=True)


def _linked(problem: Problem, link: str | None, *, duplex: bool | None) -> Problem:
    """Give the problem with the link of the command line, or what that changes of its own."""
    if link is None and duplex is None:
        return problem
    if link is None and problem.link is None:
        raise InvalidProblem("--duplex needs --link: the file has no link that could be changed")
    given = problem.link if link is None else Link(*parse_rate(link))
    assert given is not None
    return replace(problem, link=given if duplex is None else replace(given, duplex=duplex))


def _sweep(
    problem: Problem, fractions: Sequence[float], limits: Limits, progress: Progress | None
) -> list[tuple[float, Decision | Infeasible]]:
    """Solve for each fraction of the peak."""
    from policies.frontier import frontier as solve_all

    budgets = [Budget(fraction=f).resolve(problem) for f in fractions]
    found = solve_all(problem, budgets, limits=limits, progress=progress)
    return list(zip(fractions, found, strict=True))


def _table(decision: Decision, problem: Problem) -> Table:
    """Lay a decision out for people."""
    table = Table(title=f"{len(problem.graph)} tasks, policy {decision.policy}", show_header=False)
    table.add_row("status", decision.status.value)
    for name, size in (("budget", decision.budget_bytes), ("peak", decision.peak_bytes)):
        written = f"{format_bytes(size)} ({size} B)"
        table.add_row(name, "none" if size == LARGEST_BYTES else written)
    table.add_row("seconds", format_seconds(decision.seconds))
    table.add_row("overhead", f"{100 * decision.overhead:.4f} %")
    bound = f"{100 * decision.bound_overhead:.4f} % ({decision.bound_engine})"
    table.add_row("least possible", bound)
    gap = f"{decision.gap_points:.4f} points, {decision.gap_percent:.4f} %"
    table.add_row("gap", gap)
    table.add_row("recomputations", str(decision.recomputations))
    if decision.fetches:
        table.add_row("fetched from slow memory", f"{decision.fetches} times")
    table.add_row("solved in", format_seconds(decision.solve_seconds))
    return table


def _curve(points: Sequence[tuple[float, Decision | Infeasible]]) -> Table:
    """Lay a frontier out for people, with a bar for each overhead."""
    table = Table(title="seconds against memory")
    for name in ("budget", "peak", "overhead %", "bound %", "gap %", ""):
        table.add_column(name, justify="left" if not name else "right")
    good = [100 * found.overhead for _, found in points if not isinstance(found, Infeasible)]
    most = max(good, default=0.0) or 1.0
    for fraction, found in points:
        if isinstance(found, Infeasible):
            word = "infeasible" if found.proved else "none found"
            table.add_row(f"{fraction:.3f}x", word, "", "", "", "")
            continue
        overhead = 100 * found.overhead
        table.add_row(
            f"{fraction:.3f}x {format_bytes(found.budget_bytes)}",
            format_bytes(found.peak_bytes),
            f"{overhead:.3f}",
            f"{100 * found.bound_overhead:.3f}",
            f"{found.gap_percent:.3f}",
            "█" * round(30 * overhead / most),
        )
    return table


def _draw(points: Sequence[tuple[float, Decision | Infeasible]], path: Path) -> None:
    """Draw a frontier to a file."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidProblem("drawing needs matplotlib: install the extra 'plots'") from None
    good: list[Any] = [found for _, found in points if not isinstance(found, Infeasible)]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes: Any = figure.add_subplot()
    gib = [found.budget_bytes / 2**30 for found in good]
    axes.plot(gib, [100 * f.overhead for f in good], "o-", label="plan")
    axes.plot(gib, [100 * f.bound_overhead for f in good], "--", label="least possible")
    axes.set_xlabel("budget / GiB")
    axes.set_ylabel("overhead / %")
    axes.legend()
    figure.savefig(path)


@contextmanager
def _progress() -> Generator[Progress, None, None]:
    """Show what is going on once it has taken more than two seconds."""
    console = Console(stderr=True)
    began = time.monotonic()
    shown = began
    status = console.status("planning")

    def tell(step: Step) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - began < QUIET_SECONDS:
            return
        parts = [f"{now - began:.0f} s", step.engine]
        if step.seconds is not None:
            parts.append(f"best {format_seconds(step.seconds)}")
        if step.bound_seconds is not None:
            parts.append(f"bound {format_seconds(step.bound_seconds)}")
        if console.is_terminal:
            status.update(", ".join(parts))
            status.start()
        elif now - shown >= QUIET_SECONDS:
            shown = now
            console.print(", ".join(parts))

    try:
        with unheard():
            yield tell
    finally:
        status.stop()


def _refused(error: Infeasible, as_json: bool) -> int:
    if as_json:
        _print(figures(error))
    else:
        Console(stderr=True).print(str(error), markup=False, highlight=False)
    return INFEASIBLE


def _wrong(error: Exception) -> int:
    Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
    return WRONG


def _write(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
