"""Our curve lies below what others do, priced by one referee."""

import pytest

import ckpt.torch
from ckpt.cost.device import Device
from ckpt.torch.builtin import built_in_order, per_block_order
from ckpt.torch.curve import Point
from ckpt.torch.forecast import joint_of
from ckpt.torch.price import Prices
from ckpt.torch.priced import priced
from tests.torch.models import example


def test_no_other_way_is_below_the_curve():
    model, inputs = example("gpt")
    curve = ckpt.torch.frontier(
        model, inputs, points=4, fractions=(1.0, 0.4), backend="aot_eager", objective="flops"
    )
    ours = [p for p in curve.points if p.name == "planned"]
    others = [p for p in curve.points if p.name != "planned"]
    assert [p.name for p in others] == ["PyTorch 1.0", "PyTorch 0.4", "every block"]
    for other in others:
        plan = ckpt.torch.plan(
            model, inputs, budget=other.cost.peak_bytes, backend="aot_eager", objective="flops"
        )
        assert plan.cost.recomputed_flops <= other.cost.recomputed_flops
    peaks = [p.cost.peak_bytes for p in ours]
    assert peaks == sorted(peaks, reverse=True)
    assert all(isinstance(p, Point) and p.bound_seconds <= p.cost.seconds for p in ours)
    assert "every block" in str(curve)


def test_a_picture_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="drawing needs the extra plots")
    model, inputs = example("mlp")
    curve = ckpt.torch.frontier(model, inputs, points=2, fractions=(), backend="aot_eager")
    curve.draw(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_every_block_saves_less_and_runs_most_of_the_forward_half_again():
    model, inputs = example("gpt")
    joint = joint_of(model, inputs, Prices(Device.this()), "aot_eager")
    once = priced(joint.tape, [run.name for run in joint.tape.runs])
    blocks = priced(joint.tape, per_block_order(joint.tape))
    assert blocks.saved_bytes < once.saved_bytes / 2
    assert blocks.recomputed_flops > 0.5 * joint.tape.forward_flops
    before = [node.name for node in joint.module.graph.nodes]
    built_in_order(joint, 0.5)
    assert [node.name for node in joint.module.graph.nodes] == before
