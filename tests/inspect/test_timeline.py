"""Memory over time: the layers of the picture add up to what is alive."""

import numpy as np
import pytest

import ckpt
from ckpt.inspect import timeline


def loss(w, x):
    for _ in range(6):
        x = np.tanh(x @ w)
    return np.sum(x)


@pytest.fixture(scope="module", params=[None, "0.85x"])
def plan(request):
    step = ckpt.value_and_grad(loss, budget=request.param, policy="greedy")
    return step.plan_for(ckpt.Spec((16, 16)), ckpt.Spec((64, 16)))


def layers(figure):
    (axes,) = figure.axes
    return [p for p in axes.patches if hasattr(p, "get_data") and p.get_fill()]


def test_the_layers_add_up_to_what_is_alive(plan):
    pytest.importorskip("matplotlib")
    *_, top = layers(timeline.draw(plan))
    # The picture is in KiB.
    drawn = np.asarray(top.get_data().values) * 1024
    np.testing.assert_allclose(drawn, [m.live_bytes for m in plan.timeline()])


def test_every_layer_stands_on_the_one_below(plan):
    pytest.importorskip("matplotlib")
    below = 0.0
    for layer in layers(timeline.draw(plan)):
        data = layer.get_data()
        np.testing.assert_allclose(data.baseline, np.broadcast_to(below, len(data.values)))
        below = np.asarray(data.values)


def test_time_runs_to_the_predicted_end(plan):
    pytest.importorskip("matplotlib")
    (axes,) = timeline.draw(plan).axes
    assert axes.get_xlabel() == "predicted time, us"
    assert axes.get_xlim()[1] == pytest.approx(plan.seconds * 1e6)


def test_values_are_put_together_by_line(plan):
    groups = timeline.largest_groups(plan)
    assert "tanh test_timeline.py:12" in groups
    assert len(groups) == len(set(groups)) <= timeline.NAMED


def test_the_text_has_the_peak(plan):
    text = timeline.to_text(plan, rows=4)
    peak = max(plan.timeline(), key=lambda m: m.live_bytes)
    assert f"peak at step {peak.step}, " in text
    assert text.count("<- peak") == 1


def test_a_program_that_runs_nothing():
    step = ckpt.compile(lambda: ())
    assert timeline.to_text(step.plan_for()).endswith("runs nothing")
