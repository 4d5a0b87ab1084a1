"""The partition that AOTAutograd and Inductor call: joint graph in, planned halves out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ckpt.torch.asking import decide
from ckpt.torch.copies import Event, with_frees, without_dead_events
from ckpt.torch.joint import Joint, read
from ckpt.torch.plan import Plan
from ckpt.torch.price import Prices
from ckpt.torch.priced import Priced, priced
from ckpt.torch.private import (
    forward_only_partition,
    mark_what_must_be_saved,
    merge_equal_nodes,
)
from ckpt.torch.split import split
from ckpt.torch.tape import Tape
from ckpt.torch.wishes import Wishes


@dataclass
class Partition:
    """A partition under a budget; it keeps the plans that it made.

    Attributes:
        wishes: what it was asked for.
        plans: one for each joint graph, in the order in which they came.
    """

    wishes: Wishes
    plans: list[Plan] = field(default_factory=list)

    def __call__(
        self, module: Any, joint_inputs: Sequence[Any], *, num_fwd_outputs: int, **told: Any
    ) -> tuple[Any, Any]:
        """Plan and split a joint graph.

        Raises:
            BudgetError: no plan fits.
            UnsupportedOpError: the graph holds something that cannot be planned.
        """
        joint = prepared(module, num_fwd_outputs, self.wishes.prices)
        if not any(joint.tape.half("given")):
            told["num_fwd_outputs"] = num_fwd_outputs
            return forward_only_partition(module, joint_inputs, **told)
        plan = planned(joint, self.wishes)
        began = time.perf_counter()
        halves = split(joint, plan.events)
        spent = plan.solve_seconds + time.perf_counter() - began
        self.plans.append(replace(plan, solve_seconds=spent))
        return halves.forward, halves.backward


def prepared(module: Any, n_outputs: int, prices: Prices) -> Joint:
    """Clean a joint graph up as PyTorch's partition does, and read it."""
    merge_equal_nodes(module)
    mark_what_must_be_saved(module)
    return read(module, n_outputs, prices)


def planned(joint: Joint, wishes: Wishes) -> Plan:
    """Decide about a joint graph.

    Raises:
        BudgetError: no plan fits.
    """

    def carry_out(order: Sequence[Event]) -> tuple[tuple[Event, ...], Priced]:
        return carried_out(joint.tape, order, wishes)

    return decide(joint.tape, wishes, carry_out)


def carried_out(
    tape: Tape, order: Sequence[Event], wishes: Wishes
) -> tuple[tuple[Event, ...], Priced]:
    """An order as it is carried out, without what nobody reads, and what it costs.

    Without the dead runs copies begin earlier by the clock, which may cost memory: then they stay.
    """
    live = without_dead_events(tape, order)
    link, reserve_bytes = wishes.link, wishes.budget.reserve
    if link is None:
        return live, priced(tape, live, None, reserve_bytes)
    ways = [with_frees(tape, way, link) for way in (live, order)]
    costs = [priced(tape, way, link, reserve_bytes) for way in ways]
    return min(zip(ways, costs, strict=True), key=lambda way: way[1].peak_bytes)
