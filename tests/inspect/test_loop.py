"""`ckpt inspect --at loop`: the schedule and the frontier of every loop that is run back."""

import numpy as np
import pytest

import ckpt
from ckpt.api.planning import Options
from ckpt.choice import Budget
from ckpt.cost.device import Device
from ckpt.inspect import loop

OPTIONS = Options(Budget(), "auto", Device.this(), None, None)


def loss(x):
    x, _ = ckpt.scan(lambda x, _: (np.sin(x), None), x, length=50)
    return np.sum(x)


def test_the_text_shows_the_choice_and_the_schedule():
    step = ckpt.value_and_grad(loss, budget="0.4x")
    made = step.compiled_for(np.ones(100))
    text = loop.to_text(made, OPTIONS)
    (eqn,) = loop.loops(made)
    assert f"50 steps, {eqn.op.slots} slots" in text
    assert "<- chosen" in text
    assert "advance 0 -> " in text


def test_a_loop_that_keeps_what_its_steps_leave_behind_says_so():
    def recurrent(w, x):
        x, _ = ckpt.scan(lambda x, _: (np.tanh(x @ w), None), x, length=20)
        return np.sum(x * x)

    step = ckpt.value_and_grad(recurrent)
    made = step.compiled_for(np.eye(64) / 2, np.ones((256, 64)))
    text = loop.to_text(made, OPTIONS)
    assert "20 steps, what each leaves behind is kept" in text
    assert "20 evaluations, none again" in text
    with pytest.raises(loop.NoLoopError, match="a smaller budget"):
        loop.draw(made, OPTIONS)


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
