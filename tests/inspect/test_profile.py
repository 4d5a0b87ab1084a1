"""The profile of a step: every run is in it once, and what takes longest comes first."""

import re

import numpy as np

import ckpt
from ckpt.api.step import Options
from ckpt.choice import Budget
from ckpt.codegen.profile import Timed
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.inspect.profile import groups_of, to_table

SHIFT = np.arange(64, dtype=np.float32)


def loss(weights, x):
    for w in weights:
        x = np.tanh(x @ w + SHIFT)
    return np.mean(x * x)


def compiled():
    spec = ckpt.Spec((64, 64), np.float32)
    return ckpt.value_and_grad(loss).compiled_for([spec] * 3, spec)


def test_equal_lets_are_added_up_and_the_longest_come_first():
    made, costs = compiled(), CostModel(Device.built_in())
    program = made.joint.program
    timed = [Timed(run.let, (), 1e-3 * (1 + i), 0.0) for i, run in enumerate(made.plan.steps)]
    groups = groups_of(program, timed, costs)
    assert sum(g.runs for g in groups) == len(timed)
    assert np.isclose(sum(g.seconds for g in groups), sum(t.seconds for t in timed))
    assert [g.seconds for g in groups] == sorted((g.seconds for g in groups), reverse=True)
    dots = [g for g in groups if g.eqn.op.name == "dot"]
    assert sum(g.runs for g in dots) == sum(
        program.eqns[run.let].op.name == "dot" for run in made.plan.steps
    )
    assert max(g.runs for g in dots) >= 2  # the layers have one shape
    for group in groups:
        assert np.isclose(group.predicted_seconds, group.runs * costs.seconds(group.eqn))


def test_a_step_is_run_and_its_shares_add_up():
    made = compiled()
    text = to_table(made, Options(Budget.of(None), "auto", Device.built_in(), None, None))
    runs = [int(n) for n in re.findall(r" (\d+)x ", text)]
    assert sum(runs) == len(made.plan.steps)
    assert f"{sum(runs)} runs of lets" in text
    rows = [line.split("x ", 1)[1].split() for line in text.splitlines() if "x  " in line]
    shares = [float(row[1]) for row in rows]
    assert abs(sum(shares) - 100) < 0.05 * len(shares) + 0.1
