"""What others would do with the same joint graph, priced by the same referee.

PyTorch's own partition (minimum cut, then a knapsack under `activation_memory_budget`), and
checkpointing every block, become orders of the same runs as ours.
"""

import copy
import re
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


def per_block_order(tape: Tape) -> tuple[str, ...]:
    """The order when every block of the model is checkpointed.

    A block is a numbered module, as `layers.3`, the outermost of them. What it hands on is saved;
    the rest of it runs again right before the backward half first needs any of it.
    """
    inner: dict[str, list[str]] = {}
    home: dict[str, str] = {}
    for run in tape.half("forward"):
        block = _block(run.module)
        if block:
            inner.setdefault(block, []).append(run.name)
            home.update((made.name, block) for made in run.makes)
    handed_on = {
        name
        for run in tape.half("forward")
        for name in run.reads
        if home.get(name) != _block(run.module)
    }
    order = [run.name for run in tape.runs if run.half != "backward"]
    again: set[str] = set()
    for run in tape.half("backward"):
        for name in run.reads:
            block = home.get(name, "")
            if block and block not in again and name not in handed_on:
                again.add(block)
                order += inner[block]
        order.append(run.name)
    return tuple(order)


def _block(module: str) -> str:
    """The outermost numbered module on a path.

    >>> _block("model.layers.3.mlp.0"), _block("head")
    ('model.layers.3', '')
    """
    found = re.match(r"(?:[^.\d][^.]*\.)*?\d+(?=\.|$)", module)
    return found.group() if found else ""
