"""From a decision to a plan when the arena needs more than what is alive."""

import numpy as np
import pytest

from ckpt.api import planning
from ckpt.api.derive import gradient_of
from ckpt.api.gradient import value_and_grad
from ckpt.api.planning import Options, plan_joint
from ckpt.choice import Budget
from ckpt.cost.device import Device
from ckpt.errors import BudgetError
from ckpt.frontends.numpy import Spec, trace


def loss(w, x):
    for _ in range(6):
        x = np.tanh(x * w)
    return np.sum(x)


@pytest.fixture
def plan():
    traced = trace(loss, (Spec((256,)), Spec((256,))))
    joint = gradient_of(traced.program, [True, False])

    def make(budget):
        options = Options(Budget.of(budget), "greedy", Device.this(), None, None)
        return plan_joint(traced, joint, options)

    return make


@pytest.fixture
def fragmented(monkeypatch):
    """Make placing need 100 bytes more than it does, the first so many times."""
    budgets = []

    def install(times):
        place, decide = planning.place, planning.decide
        left = [times]

        def placed(*args, budget_bytes, **kwargs):
            made = place(*args, budget_bytes=budget_bytes, **kwargs)
            if left[0] and budget_bytes is not None:
                left[0] -= 1
                raise BudgetError("too much", min_bytes=budget_bytes + 100, lower_bound_bytes=7)
            return made

        def decided(program, problem, **kwargs):
            budgets.append(problem.limit.bytes)
            return decide(program, problem, **kwargs)

        monkeypatch.setattr(planning, "place", placed)
        monkeypatch.setattr(planning, "decide", decided)
        return budgets

    return install


def test_without_a_budget_the_plan_has_none(plan):
    assert plan(None).plan.budget_bytes is None
    assert plan(Budget(reserve=10)).plan.budget_bytes is None


def test_the_policy_is_asked_again_for_less_than_its_order_needs(plan, fragmented):
    whole = plan("0.9x")
    budgets = fragmented(1)
    made = plan("0.9x")
    assert budgets == [None, whole.decision.peak_bytes - 100]
    assert made.plan.budget_bytes == whole.plan.budget_bytes
    assert made.plan.peak_bytes < whole.plan.peak_bytes
    assert made.plan.decision.bound_seconds == whole.plan.decision.bound_seconds


def test_when_nothing_can_be_placed_the_least_known_is_told(plan, fragmented):
    cap = plan("0.9x").plan.budget_bytes
    fragmented(1000)
    with pytest.raises(BudgetError, match="once its values have their places") as error:
        plan("0.9x")
    assert error.value.min_bytes == cap + 100
    assert error.value.lower_bound_bytes == 7
    assert f"({cap + 100} bytes), which is known to work" in str(error.value)


def test_no_plan_is_smaller_than_what_is_called_impossible():
    def short(x):  # rows of 160 bytes: no whole number of cache lines
        for _ in range(4):
            x = np.tanh(x)
        return np.sum(x)

    spec = Spec((5, 4))
    with pytest.raises(BudgetError) as refused:
        value_and_grad(short, budget=0).plan_for(spec)
    least = refused.value.min_bytes
    assert least is not None
    assert value_and_grad(short, budget=least).plan_for(spec).peak_bytes == least
    assert least >= refused.value.lower_bound_bytes
