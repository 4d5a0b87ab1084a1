"""From a tape to a problem of the planner, and to its decision."""

from typing import Any

from ckpt.choice import (
    Budget,
    Decision,
    Infeasible,
    Limits,
    Link,
    Problem,
    leanest,
    refusal,
    solve,
)
from ckpt.errors import BudgetError, TraceError
from ckpt.torch.graph import graph_of
from ckpt.torch.private import several_processes
from ckpt.torch.tape import Tape


def problem_of(
    tape: Tape, budget: Budget | int | str | None = None, link: Link | None = None
) -> Problem:
    """The problem of a tape: what to keep, run again and, with a link, copy to host memory."""
    graph = graph_of(tape)
    order = tuple(run.name for run in tape.runs)
    return Problem(graph, budget, link, order, reserved_bytes=tape.held_bytes)


def decide(tape: Tape, problem: Problem, limits: Limits | None = None) -> Decision:
    """Ask the planner.

    Processes that train together decide alike, because plans depend on nothing but the graph, the
    device file and the limits.

    Raises:
        TraceError: several processes train together, and the limits are in seconds.
        BudgetError: no plan fits; says what is alive at the tightest run, with source lines, and
            the smallest budget that is known to work.
    """
    if limits is not None and limits.time_seconds is not None and several_processes():
        raise TraceError(
            "limits in seconds end elsewhere in every process, and processes that train together "
            "must decide alike: give Limits(work=...)"
        )
    try:
        return solve(problem, limits=limits)
    except Infeasible as error:
        least = leanest(problem)
        if least is not None and least.peak_bytes <= error.budget_bytes:
            return least
        raise _refused(tape, error, least) from None


def _refused(tape: Tape, error: Infeasible, least: Decision | None) -> BudgetError:
    """Say an infeasible budget in the user's terms."""

    def said(value: Any) -> str:
        run = tape.by_name.get(tape.maker.get(value) or value)
        if run is None:
            return "parameters, buffers and arguments" if value == ("reserved",) else str(value)
        where = " ".join(part for part in (run.module, run.line) if part)
        return f"{value}: {run.op}" + (f" ({where})" if where else "")

    witness = sorted(((said(v), n) for v, n in error.witness if n), key=lambda w: -w[1])
    return refusal(error, least, witness, "run")
