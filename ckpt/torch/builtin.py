"""What others would do with the same joint graph, priced by the same referee.

PyTorch's own partition (minimum cut, then a knapsack under `activation_memory_budget`), and
checkpointing every block, become orders of the same runs as ours.
"""

import copy
from collections.abc import Iterable
from typing import Any

from ckpt.torch.joint import Joint
from ckpt.torch.private import built_in_budget, built_in_partition
from ckpt.torch.tape import Tape


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
