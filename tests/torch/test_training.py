"""The example trains: both ways give the losses of the plain model, to the last bit."""

import pytest

import ckpt.torch
from experiments.torch_training import text, train

pytest.importorskip("sklearn", reason="the example's text comes with scikit-learn")


def test_losses_are_the_same_planned_or_not():
    letters = text()
    assert len(letters) > 10_000
    plain, _ = train(lambda model: model, letters, 3)
    compiled, call = train(
        lambda model: ckpt.torch.compile(model, budget="0.6x", backend="aot_eager"), letters, 3
    )
    eager, _ = train(lambda model: ckpt.torch.checkpoint(model, budget="0.6x"), letters, 3)
    assert plain == compiled == eager
    assert call.plan.peak_bytes <= call.plan.budget_bytes
