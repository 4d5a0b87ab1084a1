"""A point that plans the gradient of a model: shapes only, no array is allocated, nothing runs."""

import time
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

import ckpt
from ckpt import Budget, BudgetError, Limits, Plan
from experiments.models.registry import MODELS
from experiments.points.plan import NO_PEAK, AnyBudget, Peak, thin
from experiments.points.point import PROCESS_BYTES, Estimate, PointConfig, Result
from experiments.schema import AnyModel

_TRACING_SECONDS = 8.0
"""To trace, derive and fuse a network of a few hundred lets, roughly."""


class Network(PointConfig):
    """Plan a model's gradient under a budget.

    Attributes:
        model: its configuration, mostly by `ref:`.
        policy: who decides.
        budget: a cap in bytes, a part of the save-all peak, or the peak of another policy.
        work: how much work deciding may take.
        record: what to keep for pictures: memory over time, the order.
    """

    kind: Literal["network"] = "network"
    model: AnyModel
    policy: str = "auto"
    budget: AnyBudget | None = None
    work: PositiveInt = 4000
    record: list[Literal["memory", "schedule"]] = Field(default=[])

    def estimate(self) -> Estimate:
        """At most the policy's work, and what tracing takes."""
        return Estimate(
            min(_TRACING_SECONDS + 2 * self.work / 1000, self.time_limit), 2 * PROCESS_BYTES
        )

    def run(self) -> Result:
        """Plan, and say what the plan takes."""
        planned = Planned(self.model, self.work, self.seed)
        most = planned.save_all.peak_bytes
        found: Result = {
            "lets": len(planned.save_all.lets),
            "save_all_peak_bytes": most,
            "input_bytes": planned.save_all.input_bytes,
            "forward_percent": 100 * planned.forward_seconds / planned.save_all.save_all_seconds,
        }
        try:
            budget = self._budget(planned)
        except BudgetError as refused:  # of the policy whose peak was to be the budget
            return found | {"status": NO_PEAK, "min_bytes": refused.min_bytes}
        began = time.perf_counter()
        try:
            plan = planned.plan(budget, self.policy)
        except BudgetError as refused:
            cap = None if budget is None else budget.bytes
            proved = cap is not None and cap < refused.lower_bound_bytes
            return found | {
                "status": "infeasible" if proved else "none found",
                "budget_bytes": cap,
                "lower_bound_bytes": refused.lower_bound_bytes,
                "min_bytes": refused.min_bytes,
            }
        found |= figures(plan, most)
        found["solve_seconds"] = time.perf_counter() - began
        if "memory" in self.record:
            found["memory"] = _memory(plan)
        if "schedule" in self.record:
            found["schedule"] = [step.let for step in plan.steps]
        return found

    def _budget(self, planned: "Planned") -> Budget | None:
        match self.budget:
            case None:
                return None
            case Peak(peak_of=str(policy), fraction=None):
                return Budget(bytes=planned.plan(None, policy).peak_bytes)
            case Peak(peak_of=str(policy), fraction=float(part)):
                first = Budget(bytes=int(part * planned.save_all.peak_bytes))
                return Budget(bytes=planned.plan(first, policy).peak_bytes)
            case Peak():
                raise ValueError("rules see names of graphs; of a network, name a policy")
            case cap if cap.bytes is not None:
                return Budget(bytes=cap.bytes)
            case cap:
                assert cap.fraction is not None
                return Budget(bytes=int(cap.fraction * planned.save_all.peak_bytes))


class Planned:
    """The gradient of a model, planned as often as is asked, always of the same program."""

    def __init__(self, model: Annotated[Any, AnyModel], work: int, seed: int = 0) -> None:
        kind = MODELS[model.model]
        self.loss = kind.make_loss(model)
        self.specs = kind.specs(model)
        self.limits = Limits(work=work, seed=seed)

    def plan(self, budget: Budget | None, policy: str) -> Plan:
        """Under a budget.

        Raises:
            BudgetError: there is none.
        """
        step = ckpt.value_and_grad(self.loss, budget=budget, policy=policy, limits=self.limits)
        return step.plan_for(*self.specs)

    @cached_property
    def save_all(self) -> Plan:
        """Every value kept: what fractions refer to."""
        return self.plan(None, "save_all")

    @cached_property
    def forward_seconds(self) -> float:
        """What the primal half takes, once."""
        step = ckpt.value_and_grad(self.loss, policy="save_all")
        known = step.joint_for(*self.specs).n_known
        return sum(let.seconds for let in self.save_all.lets[:known])


def figures(plan: Plan, most: int) -> Result:
    """What a plan takes."""
    base = plan.save_all_seconds
    bound = max(0.0, plan.decision.bound_seconds / base - 1) if base else 0.0
    return {
        "status": plan.decision.status,
        "decided_by": plan.decision.policy,
        "budget_bytes": plan.budget_bytes,
        "peak_bytes": plan.peak_bytes,
        "peak_percent": 100 * plan.peak_bytes / most,
        "overhead_percent": 100 * plan.overhead,
        "bound_percent": 100 * bound,
        "gap_points": max(0.0, 100 * (plan.overhead - bound)),
        "recomputations": sum(count - 1 for count in plan.runs.values()),
    }


def _memory(plan: Plan) -> list[list[float]]:
    """Predicted seconds and bytes alive, step by step."""
    rows, now = [], 0.0
    for moment, step in zip(plan.timeline(), plan.steps, strict=True):
        now += plan.lets[step.let].seconds
        rows.append([now, moment.live_bytes])
    return thin(rows)
