"""From a tape to a problem of the planner, and to its decision."""

from collections.abc import Sequence
from typing import Any

import networkx as nx

from ckpt.choice import (
    Budget,
    Decision,
    Infeasible,
    Limits,
    Link,
    Problem,
    Value,
    leanest,
    refusal,
    solve,
)
from ckpt.errors import BudgetError
from ckpt.torch.tape import Tape

GIVEN = "given"
"""Names of runs that stand for what the caller hands to the backward half begin with this."""


def problem_of(
    tape: Tape, budget: Budget | int | str | None = None, link: Link | None = None
) -> Problem:
    """The dataflow graph of a tape: one task per run, one value per buffer.

    First runs keep the tape's order, so that what is forward stays forward. What the caller hands
    in between the halves waits for every forward run whose results leave.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    for run in tape.runs:
        graph.add_node(
            run.name,
            seconds=run.seconds,
            values=tuple(Value(m.name, m.nbytes, must_live=m.stays) for m in run.makes),
            workspace_bytes=run.workspace_bytes,
            effects=bool(run.once),
        )
    for run in tape.runs:
        reads: dict[str, list[str]] = {}
        for name in run.reads:
            reads.setdefault(tape.maker[name], []).append(name)
        for maker, named in reads.items():
            graph.add_edge(maker, run.name, reads=tuple(named))
    order = tuple(run.name for run in tape.runs)
    return Problem(graph, budget, link, order, reserved_bytes=tape.held_bytes)


def decide(tape: Tape, problem: Problem, limits: Limits | None = None) -> Decision:
    """Ask the planner.

    Raises:
        BudgetError: no plan fits; says what is alive at the tightest run, with source lines, and
            the smallest budget that is known to work.
    """
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


def without_dead_runs(tape: Tape, order: Sequence[str]) -> tuple[str, ...]:
    """Leave out runs whose results are made again before anybody reads them."""
    wanted = {made.name for run in tape.runs for made in run.makes if made.stays}
    kept: list[str] = []
    ran: set[str] = set()
    first = {name: i for i, name in reversed(list(enumerate(order)))}
    for i in range(len(order) - 1, -1, -1):
        run = tape.by_name[order[i]]
        made = {m.name for m in run.makes}
        only = i == first[run.name] and run.name not in ran
        if not (only or run.once or made & wanted):
            continue
        wanted -= made
        wanted.update(run.reads)
        ran.add(run.name)
        kept.append(run.name)
    return tuple(reversed(kept))
