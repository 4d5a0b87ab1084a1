"""A point that trains a model under a budget: does it learn, and are the losses the same bits?"""

import hashlib
from statistics import median
from typing import Annotated, Any, Literal, Self

import numpy as np
import optree
from pydantic import BeforeValidator, PositiveInt, model_validator

import ckpt
from ckpt import Budget, BudgetError, Limits, Step
from experiments.measurement import Prepared
from experiments.models.registry import MODELS
from experiments.points.point import PROCESS_BYTES, Estimate, PointConfig, Result
from experiments.schema import AnyModel, BudgetConfig, Data, Training, expanded
from experiments.supply import HELD_OUT, supply_of
from experiments.training import late_loss, make_training_step

_COMPILING_SECONDS = 20.0
"""To trace, plan and compile a training step of a few hundred lets, where no kernel is cached."""

_DIGITS = 12
"""Of a SHA-256, in base 16: as many as a float holds exactly."""


class Train(PointConfig):
    """Train under a budget.

    Attributes:
        model: its configuration, mostly by `ref:`.
        data: where batches come from.
        training: steps, optimizer, and what is to be reached.
        budget: what a training step may use; None for no limit.
        policy: who decides what to save and what to recompute.
        work: how much work that may take.
    """

    kind: Literal["train"] = "train"
    model: AnyModel
    data: Data
    training: Training
    budget: Annotated[BudgetConfig | None, BeforeValidator(expanded)] = None
    policy: str = "auto"
    work: PositiveInt = 4000

    @model_validator(mode="after")
    def _can_be_tested(self) -> Self:
        if self.training.accuracy is not None and self.data not in HELD_OUT:
            raise ValueError(
                f"{self.data} data have no test split: give training.loss, not training.accuracy"
            )
        return self

    def estimate(self) -> Estimate:
        """From the plan that saves everything: predicted seconds of its steps, its peak."""
        plan = self._step(None, "save_all").plan_for(*self._specs())
        seconds = _COMPILING_SECONDS + self.training.steps * plan.save_all_seconds
        return Estimate(min(seconds, self.time_limit), PROCESS_BYTES + plan.peak_bytes)

    def run(self) -> Result:
        """Plan, compile, train and test.

        Returns:
            The losses of all steps with their digest as a number, which is the same exactly when
            all their bits are; and what planning promised beside what was measured.
        """
        model = MODELS[self.model.model]
        supply = supply_of(self.data, self.model, self.seed)
        params = model.init(self.model, self.seed)
        state = self.training.optimizer.init(params)
        batch = next(supply.batches)
        saved = self._step(None, "save_all").plan_for(params, state, *batch)
        cap = None if self.budget is None else self.budget.budget(saved.peak_bytes)
        step = self._step(cap, self.policy)
        found: Result = {"save_all_peak_bytes": saved.peak_bytes}
        try:
            plan = step.plan_for(params, state, *batch)
        except BudgetError as refused:
            return found | {"status": "none found", "min_bytes": refused.min_bytes}
        measured = Prepared.of(step, params, state, *batch).peak_bytes()
        losses, took = [], []
        for _ in range(self.training.steps):
            value, params, state = step(params, state, *batch)
            losses.append(np.asarray(value))
            took.append(step.executable_for(params, state, *batch).stats.last_seconds or 0.0)
            batch = next(supply.batches)
        accuracy = None if supply.accuracy is None else supply.accuracy(params)
        curve = [float(loss) for loss in losses]
        return found | {
            "status": plan.decision.status,
            "reached": self._reached(curve, accuracy),
            "test_accuracy": accuracy,
            "first_loss": curve[0],
            "last_loss": late_loss(curve),
            "budget_bytes": plan.budget_bytes,
            "peak_bytes": plan.peak_bytes,
            "measured_peak_bytes": measured,
            "peak_percent": 100 * plan.peak_bytes / saved.peak_bytes,
            "overhead_percent": 100 * plan.overhead,
            "predicted_step_seconds": plan.seconds,
            "step_seconds": median(took),
            "loss_digest": _digest(losses),
            "parameter_digest": _digest(optree.tree_leaves(params)),
            "losses": curve,
        }

    def _step(self, budget: Budget | None, policy: str) -> Step:
        step = make_training_step(
            MODELS[self.model.model].make_loss(self.model), self.training.optimizer
        )
        limits = Limits(work=self.work, seed=self.seed)
        return ckpt.compile(step, budget=budget, policy=policy, limits=limits)

    def _specs(self) -> tuple[Any, ...]:
        params, *batch = MODELS[self.model.model].specs(self.model)
        tiny = optree.tree_map(lambda s: np.broadcast_to(np.zeros((), s.dtype), s.shape), params)
        state = optree.tree_map(
            lambda a: ckpt.Spec(a.shape, str(a.dtype)), self.training.optimizer.init(tiny)
        )
        return (params, state, *batch)

    def _reached(self, losses: list[float], accuracy: float | None) -> bool:
        """Whether what the training asks for was met."""
        wanted = self.training
        learned = wanted.accuracy is None or (accuracy or 0.0) >= wanted.accuracy
        return learned and (wanted.loss is None or late_loss(losses) <= wanted.loss)


def _digest(arrays: list[Any]) -> int:
    """A number that is the same for the same bits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.asarray(array).tobytes())
    return int(digest.hexdigest()[:_DIGITS], 16)
