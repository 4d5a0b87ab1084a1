"""A tape as the dataflow graph that the planner and the referee read."""

from collections.abc import Set as AbstractSet

import networkx as nx

from ckpt.choice import Choice, Value
from ckpt.torch.tape import Run, Tape

_HERE = frozenset({Choice.SAVE, Choice.RECOMPUTE})


def graph_of(tape: Tape, only: AbstractSet[str] | None = None) -> "nx.DiGraph[str]":
    """One task per run, one value per buffer.

    Args:
        tape: first runs keep its order, so that what is forward stays forward.
        only: names of the runs to take; anything may then run twice, whatever the tape says.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    runs = [run for run in tape.runs if only is None or run.name in only]
    for run in runs:
        graph.add_node(
            run.name,
            seconds=run.seconds,
            values=tuple(Value(m.name, m.nbytes, must_live=m.stays) for m in run.makes),
            workspace_bytes=run.workspace_bytes,
            effects=only is None and bool(run.once),
            **({} if _moves(run) else {"allowed": _HERE}),
        )
    for run in runs:
        reads: dict[str, list[str]] = {}
        for name in run.reads:
            reads.setdefault(tape.maker[name], []).append(name)
        for maker, named in reads.items():
            if maker in graph:
                graph.add_edge(maker, run.name, reads=tuple(named))
    return graph


def _moves(run: Run) -> bool:
    """Whether what a run makes may wait in host memory."""
    return run.half != "given" and all(m.moves and not m.stays for m in run.makes)
