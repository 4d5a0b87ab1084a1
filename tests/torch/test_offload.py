"""Values that wait in host memory: the same bits, fewer bytes, and the plan's."""

import pytest
import torch

import ckpt.torch
from ckpt.choice import Fetch, Free, Store
from ckpt.cost.device import Device, HostLink
from ckpt.errors import CkptError
from experiments.models.torch_nets import example
from experiments.torch_step import eager_step, step

NEAR = Device.built_in().model_copy(
    update={"host_link": HostLink(bytes_per_second=1e11, duplex=True), "bytes_per_second": 1e9}
)
"""Beside this link, running anything again is dear."""


ROUTES = {
    "compile": lambda model, **told: ckpt.torch.compile(model, backend="aot_eager", **told),
    "eager": ckpt.torch.checkpoint,
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", ["gpt", "resnet", "unet"])
def test_the_same_bits_and_the_planned_bytes(route, name):
    model, inputs = example(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected, _ = step(model, model, inputs, state)
    call = ROUTES[route](model, budget="0.8x", device=NEAR, offload=True)
    for _ in range(2):
        found, held_bytes = (eager_step if route == "eager" else step)(call, model, inputs, state)
        assert all(map(torch.equal, found, expected))
        plan = call.plan
        assert plan.peak_bytes <= plan.budget_bytes
        assert plan.offloaded
        # Autograd sees what waits in host memory too.
        away_bytes = sum(m.nbytes for m in plan.offloaded) if route == "compile" else 0
        assert abs(held_bytes - plan.saved_bytes - away_bytes) <= 8 << 10


@pytest.mark.parametrize("route", ROUTES)
def test_a_link_never_makes_a_plan_slower_and_saves_fewer_bytes_than_everything(route):
    model, inputs = example("mlp")
    plans = []
    for told in ({}, {"budget": "0.8x"}, {"budget": "0.8x", "offload": True}):
        call = ROUTES[route](model, device=NEAR, **told)
        call(*inputs).backward()
        plans.append(call.plan)
    everything, without, with_link = plans
    assert with_link.saved_bytes < everything.saved_bytes
    assert with_link.peak_bytes < everything.peak_bytes
    assert with_link.cost.seconds <= without.cost.seconds
    assert "wait in host memory" in str(with_link)
    assert not without.offloaded


def test_every_copy_is_begun_let_go_and_brought_back_in_this_order():
    model, inputs = example("gpt")
    with ckpt.torch.fake():
        model, _ = example("gpt")
    plan = ckpt.torch.plan(
        model, inputs, budget="0.7x", backend="aot_eager", device=NEAR, offload=True
    )
    states = {}
    for event in plan.events:
        match event:
            case Store(name):
                states[name] = "stored"
            case Free(name):
                assert states[name] in {"stored", "fetched"}
                states[name] = "away"
            case Fetch(name):
                assert states[name] in {"away", "fetched"}
                states[name] = "fetched"
    assert states
    assert set(states.values()) == {"fetched"}


@pytest.mark.long
def test_inductor_carries_copies_out():
    model, inputs = example("gpt")
    model.eval()
    expected, _ = step(model, model, inputs)
    call = ckpt.torch.compile(model, budget="0.7x", device=NEAR, offload=True)
    found, _ = step(call, model, inputs)
    assert call.plan.offloaded
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_device_without_a_link_is_refused_at_once():
    model, _ = example("mlp")
    for route in ROUTES.values():
        with pytest.raises(CkptError, match="no host_link"):
            route(model, budget="0.8x", device=Device.built_in(), offload=True)
