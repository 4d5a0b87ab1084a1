"""Recovering an initial state on a small plate."""

import numpy as np
import pytest

from experiments.demonstrations.burgers import Burgers, draw, recover, report, true_state
from experiments.demonstrations.demonstration import DemonstrationError
from experiments.models import burgers

FLOW = burgers.Config(size=16, steps=40, advection=0.1, diffusion=0.05, dtype="float64")
SMALL = Burgers(flow=FLOW, speed=0.5, blur=1.0, states=5, iterations=60)


def test_the_initial_state_is_found_within_the_budget(tmp_path):
    result = recover(SMALL)
    assert result.misfits == sorted(result.misfits, reverse=True)
    assert result.misfits[-1] < 1e-4 * result.misfits[0]
    assert result.peak_bytes <= result.budget_bytes
    start = np.linalg.norm(result.final["u"] - result.truth["u"])
    found = np.linalg.norm(result.found["u"] - result.truth["u"])
    assert found < 0.25 * start
    draw(result, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_a_flow_that_blows_up_is_refused():
    flow = burgers.Config(size=64, steps=200, advection=0.5, diffusion=0.02, dtype="float64")
    with pytest.raises(DemonstrationError, match="more diffusion"):
        recover(SMALL.model_copy(update={"flow": flow, "speed": 2.0}))


def test_letters_that_are_no_rectangle_are_refused():
    with pytest.raises(DemonstrationError, match="every row"):
        true_state(SMALL.model_copy(update={"letters": ("..", "#")}))


def test_the_report_says_what_a_gradient_took(capsys):
    report(SMALL.model_copy(update={"iterations": 2}))
    assert "slots" in capsys.readouterr().out
