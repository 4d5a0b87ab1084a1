"""The partition that AOTAutograd and Inductor call: joint graph in, planned halves out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ckpt.choice import Budget, Limits
from ckpt.cost.device import Device
from ckpt.torch.asking import decide, problem_of, without_dead_runs
from ckpt.torch.joint import Joint, read
from ckpt.torch.plan import Plan
from ckpt.torch.price import Objective, Prices
from ckpt.torch.priced import priced
from ckpt.torch.private import (
    forward_only_partition,
    mark_what_must_be_saved,
    merge_equal_nodes,
)
from ckpt.torch.split import split


@dataclass(frozen=True)
class Wishes:
    """What a plan is asked for.

    Attributes:
        budget: on everything alive during a step.
        device: whose costs to plan with.
        objective: what to minimise.
        limits: how hard to search; None for the default.
        route: "inductor" or "aot_eager" (or "eager").
    """

    budget: Budget
    device: Device
    objective: Objective = "seconds"
    limits: Limits | None = None
    route: str = "inductor"

    @property
    def prices(self) -> Prices:
        """Costs of operations; Inductor fuses."""
        fused = self.route == "inductor"
        return Prices(self.device, fused=fused, objective=self.objective)


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
        halves = split(joint, plan.order)
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
    problem = problem_of(joint.tape, wishes.budget)
    decision = decide(joint.tape, problem, wishes.limits)
    order = without_dead_runs(joint.tape, [str(name) for name in decision.runs])
    cost = priced(joint.tape, order)
    assert cost.peak_bytes <= decision.peak_bytes
    return Plan(joint.tape, order, cost, decision, wishes.route, time.perf_counter() - began)
