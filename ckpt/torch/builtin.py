"""What others would do with the same joint graph, priced by the same referee.

PyTorch's own partition (minimum cut, then a knapsack under `activation_memory_budget`), and
checkpointing every block, become orders of the same runs as ours.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from ckpt.choice import Problem, Value, evaluate
from ckpt.torch.joint import Joint
from ckpt.torch.plan import crossing
from ckpt.torch.private import built_in_budget, built_in_partition
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


def built_in_order(joint: Joint, fraction: float, solver: str = "dp") -> tuple[str, ...]:
    """The order in which PyTorch's own partition would run a joint graph.

    Args:
        joint: it is left as it is.
        fraction: PyTorch's budget, of the bytes that its minimum cut saves.
        solver: of its knapsack.
    """
    module = copy.deepcopy(joint.module)
    with built_in_budget(fraction, solver):
        forward, backward = built_in_partition(module, (), num_fwd_outputs=joint.n_outputs)
    tape = joint.tape
    given = [run.name for run in tape.half("given")]
    return (*_runs(tape, forward), *given, *_runs(tape, backward))


def _runs(tape: Tape, module: Any) -> Iterable[str]:
    calls = (node.name for node in module.graph.nodes if node.op == "call_function")
    return [name for name in calls if name in tape.by_name]


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
            graph.add_node(run.name, seconds=run.seconds, values=values)
    for run in tape.runs:
        reads: dict[str, list[str]] = {}
        for name in run.reads:
            reads.setdefault(tape.maker[name], []).append(name)
        for maker, named in reads.items():
            if run.name in ran and maker in ran:
                graph.add_edge(maker, run.name, reads=tuple(named))
    found = evaluate(Problem(graph, reserved_bytes=tape.input_bytes), order)
    kept = crossing(tape, order)
    saved = sum(m.nbytes for run in tape.runs for m in run.makes if m.name in kept)
    flops = sum(tape.by_name[name].flops for name in order)
    once = sum(tape.by_name[name].flops for name in ran)
    return Priced(found.peak_bytes, saved, found.seconds, flops - once)
