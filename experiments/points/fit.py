"""A point that asks for the largest batch of a model that a budget holds, by planning alone."""

from typing import Literal

from pydantic import Field, PositiveInt

from ckpt import Budget, BudgetError
from ckpt.cli.fit import largest
from experiments.points.network import Planned
from experiments.points.point import PROCESS_BYTES, Estimate, PointConfig, Result
from experiments.schema import AnyModel, Bytes


class Fit(PointConfig):
    """Find the largest batch.

    Attributes:
        model: its configuration; its batch is what is varied.
        memory: bytes for everything alive during a step.
        extra_forward: how much recomputation is allowed, in forward passes; None for any.
        policy: who decides.
        work: how much work deciding once may take.
        most: the largest batch to try.
        close: stop when what fits and what does not differ by at most this fraction.
    """

    kind: Literal["fit"] = "fit"
    model: AnyModel
    memory: Bytes = Field(gt=0)
    extra_forward: float | None = Field(default=1.0, ge=0)
    policy: str = "auto"
    work: PositiveInt = 1000
    most: PositiveInt = 1 << 14
    close: float = Field(default=0.02, ge=0)

    def estimate(self) -> Estimate:
        """A dozen plans of the policy and two dozen of the quick one."""
        return Estimate(min(60 + 24 * self.work / 1000, self.time_limit), 2 * PROCESS_BYTES)

    def run(self) -> Result:
        """Search upwards from what fits with everything saved."""
        tried: dict[tuple[int, str], float | None] = {}

        def fits(batch: int, policy: str) -> bool:
            tried[batch, policy] = self._overhead(batch, policy)
            return tried[batch, policy] is not None

        saved = largest(lambda n: fits(n, "save_all"), self.most)
        best = saved
        if self.policy != "save_all":
            best = largest(
                lambda n: fits(n, self.policy), self.most, known=saved, growth=1.5, close=self.close
            )
        overhead = tried.get((best, self.policy))
        return {
            "largest_batch": best,
            "save_all_batch": saved,
            "ratio_to_save_all": best / saved if saved else None,
            "overhead_percent": None if overhead is None else 100 * overhead,
            "plans_tried": len(tried),
        }

    def _overhead(self, batch: int, policy: str) -> float | None:
        """What a batch costs, if it fits."""
        planned = Planned(self.model.model_copy(update={"batch": batch}), self.work, self.seed)
        try:
            plan = planned.plan(Budget(bytes=self.memory), policy)
        except BudgetError:
            return None
        if self.extra_forward is not None:
            allowed = self.extra_forward * planned.forward_seconds
            if plan.seconds - plan.save_all_seconds > allowed:
                return None
        return plan.overhead
