"""`ckpt inspect --at loop`, and schedules as lists of actions."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import ckpt
from ckpt.api.planning import Options
from ckpt.choice import Budget
from ckpt.codegen.actions import actions, check_actions
from ckpt.codegen.proof import steps_forward
from ckpt.cost.device import Device
from ckpt.errors import PlanError
from ckpt.inspect import loop

OPTIONS = Options(Budget(), "auto", Device.this(), None, None)


def loss(x):
    x, _ = ckpt.scan(lambda x, _: (np.sin(x), None), x, length=50)
    return np.sum(x)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 37])
def test_actions_do_what_the_drivers_do(n):
    for slots in range(1, n + 2):
        made = list(actions(n, slots))
        assert check_actions(made, n, slots) == steps_forward(n, slots)
        assert sum(a.kind == "reverse" for a in made) == n
        assert max((a.slot for a in made), default=0) < slots


def test_damaged_schedules_are_refused():
    made = list(actions(10, 3))
    back = [i for i, a in enumerate(made) if a.kind == "reverse"]
    stores = [i for i, a in enumerate(made) if a.kind == "store" and a.slot]

    def refused(changed):
        with pytest.raises(PlanError, match="the schedule is not good"):
            check_actions(changed, 10, 3)

    for i, j in itertools.pairwise(back):
        swapped = list(made)
        swapped[i], swapped[j] = made[j], made[i]
        refused(swapped)
    for i in stores:
        refused([*made[:i], replace(made[i], to=made[i].to - 1), *made[i + 1 :]])
        refused([*made[:i], replace(made[i], slot=3), *made[i + 1 :]])
        refused([*made[:i], *made[i + 1 :]])
    refused(made[:-1])


def test_the_text_shows_the_choice_and_the_schedule():
    step = ckpt.value_and_grad(loss, budget="0.4x")
    made = step.compiled_for(np.ones(100))
    text = loop.to_text(made, OPTIONS)
    (eqn,) = loop.loops(made)
    assert f"50 steps, {eqn.op.slots} slots" in text
    assert "<- chosen" in text
    assert "store    0 in slot 0" in text


def test_the_picture_can_be_drawn(tmp_path):
    from ckpt.inspect import figure

    made = ckpt.value_and_grad(loss, budget="0.4x").compiled_for(np.ones(100))
    path = tmp_path / "loop.png"
    figure.save(loop.draw(made, OPTIONS, "loss"), path)
    assert path.stat().st_size > 1000


def test_a_program_without_loops_says_so():
    made = ckpt.value_and_grad(lambda x: np.sum(x * x)).compiled_for(np.ones(3))
    with pytest.raises(loop.NoLoopError, match="write one with ckpt.scan"):
        loop.to_text(made, OPTIONS)
