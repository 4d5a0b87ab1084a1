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


def nested(x):
    def outer(x, _):
        x, _ = ckpt.scan(lambda x, _: (np.sin(x), None), x, length=40)
        return 0.5 * x, None

    x, _ = ckpt.scan(outer, x, length=30)
    return np.sum(x)


def unknown(x):
    x, _ = ckpt.while_loop(lambda c: c[1] < 40, lambda c: (np.sin(c[0]), c[1] + 1), (x, 0))
    return np.sum(x)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (nested, ["30 steps, ", "inside each of its steps:", "    loop ", "40 steps, "]),
        (unknown, ["a number of steps known later, 100 assumed", "schedule, were it 100 steps"]),
    ],
)
def test_loops_inside_loops_and_loops_of_unknown_length_are_shown_and_drawn(f, said, tmp_path):
    from ckpt.inspect import figure

    made = ckpt.value_and_grad(f, budget="0.5x").compiled_for(np.ones(1000))
    text = loop.to_text(made, OPTIONS)
    assert all(s in text for s in said)
    assert text.count("<- chosen") == text.count("schedule")
    assert "advance 0 -> " in text
    path = tmp_path / "loop.png"
    figure.save(loop.draw(made, OPTIONS, "loss"), path)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("f", [nested, unknown])
def test_the_schedule_that_is_shown_goes_back_over_every_step(f):
    made = ckpt.value_and_grad(f, budget="0.5x").compiled_for(np.ones(1000))
    for eqn in loop.loops(made):
        steps = [a.step for a in loop.schedule(eqn.op) if a.kind.name == "REVERSE"]
        assert steps == list(range(eqn.op.expected_steps))[::-1]


def test_a_program_without_loops_says_so():
    made = ckpt.value_and_grad(lambda x: np.sum(x * x)).compiled_for(np.ones(3))
    with pytest.raises(loop.NoLoopError, match="write one with ckpt.scan"):
        loop.to_text(made, OPTIONS)
