"""The partition that AOTAutograd and Inductor call: joint graph in, planned halves out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ckpt.choice import Budget, Decision, Fetch, Free, Limits, Link, Store
from ckpt.cost.device import Device
from ckpt.torch.asking import decide, problem_of
from ckpt.torch.copies import Event, link_of, with_frees, without_dead_events
from ckpt.torch.joint import Joint, read
from ckpt.torch.plan import Plan
from ckpt.torch.price import Objective, Prices
from ckpt.torch.priced import Priced, priced
from ckpt.torch.private import (
    forward_only_partition,
    mark_what_must_be_saved,
    merge_equal_nodes,
)
from ckpt.torch.split import split
from ckpt.torch.tape import Tape


@dataclass(frozen=True)
class Wishes:
    """What a plan is asked for.

    Attributes:
        budget: on everything alive during a step.
        device: whose costs to plan with.
        objective: what to minimise.
        limits: how hard to search; None for the default.
        route: "inductor" or "aot_eager" (or "eager").
        offload: whether values may wait in host memory.
    """

    budget: Budget
    device: Device
    objective: Objective = "seconds"
    limits: Limits | None = None
    route: str = "inductor"
    offload: bool = False

    @property
    def prices(self) -> Prices:
        """Costs of operations; Inductor fuses."""
        fused = self.route == "inductor"
        return Prices(self.device, fused=fused, objective=self.objective)

    @property
    def link(self) -> Link | None:
        """The way to host memory, if it may be used.

        Raises:
            CkptError: the device has none.
        """
        return link_of(self.device) if self.offload else None


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
    began = time.perf_counter()
    problem = problem_of(joint.tape, wishes.budget, wishes.link)
    decision = decide(joint.tape, problem, wishes.limits)
    order, cost = carried_out(joint.tape, events_of(decision), wishes.link)
    assert cost.peak_bytes <= decision.peak_bytes
    return Plan(joint.tape, order, cost, decision, wishes.route, time.perf_counter() - began)


def events_of(decision: Decision) -> tuple[Event, ...]:
    """The order of a decision about a tape, whose tasks are named by text."""
    return tuple(e if isinstance(e, (Store, Fetch, Free)) else str(e) for e in decision.order)


def carried_out(
    tape: Tape, order: Sequence[Event], link: Link | None
) -> tuple[tuple[Event, ...], Priced]:
    """An order as it is carried out, without what nobody reads, and what it costs.

    Without the dead runs copies begin earlier by the clock, which may cost memory: then they stay.
    """
    live = without_dead_events(tape, order)
    if link is None:
        return live, priced(tape, live)
    ways = [with_frees(tape, way, link) for way in (live, order)]
    costs = [priced(tape, way, link) for way in ways]
    return min(zip(ways, costs, strict=True), key=lambda way: way[1].peak_bytes)
