"""Recovering an initial state on a small plate."""

import pytest

from experiments.burgers_recovery import main, recover
from experiments.models import burgers


def test_the_initial_state_is_found_within_the_budget(tmp_path, capsys):
    config = burgers.Config(size=16, steps=40, diffusion=0.05, dtype="float64")
    result = recover(config, states=5, iterations=25)
    assert result.misfits[-1] < 1e-3 * result.misfits[0]
    assert result.peak_bytes <= result.budget_bytes
    assert result.error < 0.2


def test_a_flow_that_blows_up_is_refused():
    config = burgers.Config(size=64, steps=200, diffusion=0.02, dtype="float64")
    with pytest.raises(FloatingPointError, match="more diffusion"):
        recover(config, states=5, iterations=1)


def test_the_command_draws(tmp_path, capsys):
    config, out = tmp_path / "small.yaml", tmp_path / "recovery.png"
    config.write_text("model: burgers\nsize: 8\nsteps: 10\ndtype: float64\n")
    assert main(config, states=3, iterations=3, out=out) == 0
    assert "slots" in capsys.readouterr().out
    assert out.stat().st_size > 1000
