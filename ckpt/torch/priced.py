"""What an order of runs costs, whoever made it."""

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from ckpt.choice import Problem, Value, evaluate
from ckpt.torch.tape import Tape


@dataclass(frozen=True, slots=True)
class Priced:
    """What an order costs.

    Attributes:
        peak_bytes: most bytes alive at once, everything included.
        saved_bytes: of the buffers that cross from the forward to the backward half.
        seconds: predicted, all runs.
        recomputed_flops: of the runs beyond the first of each.
    """

    peak_bytes: int
    saved_bytes: int
    seconds: float
    recomputed_flops: int


def priced(tape: Tape, order: Sequence[str]) -> Priced:
    """Let the referee price any order, also one that our planner may not give.

    First runs may stand anywhere, and anything may run twice. Runs that an order leaves out
    because nobody reads them are left out here too.
    """
    ran = set(order)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for run in tape.runs:
        if run.name in ran:
            values = tuple(Value(m.name, m.nbytes, must_live=m.stays) for m in run.makes)
            room = run.workspace_bytes
            graph.add_node(run.name, seconds=run.seconds, values=values, workspace_bytes=room)
    for run in tape.runs:
        reads: dict[str, list[str]] = {}
        for name in run.reads:
            reads.setdefault(tape.maker[name], []).append(name)
        for maker, named in reads.items():
            if run.name in ran and maker in ran:
                graph.add_edge(maker, run.name, reads=tuple(named))
    found = evaluate(Problem(graph, reserved_bytes=tape.held_bytes), order)
    kept = crossing(tape, order)
    saved = sum(m.nbytes for run in tape.runs for m in run.makes if m.name in kept)
    flops = sum(tape.by_name[name].flops for name in order)
    once = sum(tape.by_name[name].flops for name in ran)
    return Priced(found.peak_bytes, saved, found.seconds, flops - once)


def crossing(tape: Tape, order: Sequence[str]) -> set[str]:
    """Names of the buffers made before the halves part and read after it as they were."""
    made: set[str] = set()
    again: set[str] = set()
    kept: set[str] = set()
    late = False
    for name in order:
        run = tape.by_name[name]
        late = late or run.half != "forward"
        if late and run.half != "given":
            kept.update(r for r in run.reads if r in made and r not in again)
        (again if late else made).update(m.name for m in run.makes)
    return kept
