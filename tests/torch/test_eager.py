"""The eager route: the same bits, the planned bytes held, and what it refuses."""

import pytest
import torch

import ckpt.torch
from ckpt.errors import BudgetError, PlanError, TraceError
from experiments.models.torch_nets import NAMES, example
from experiments.torch_step import eager_step, step

BUDGETS = {"lstm": "0.9x"}
"""Where the forward half alone needs more than usual."""


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_and_the_planned_bytes_under_every_budget(name):
    model, inputs = example(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected, _ = step(model, model, inputs, state)
    for budget in (None, BUDGETS.get(name, "0.75x")):
        call = ckpt.torch.checkpoint(model, budget=budget)
        found, held_bytes = eager_step(call, model, inputs, state)
        assert all(map(torch.equal, found, expected))
        assert abs(held_bytes - call.plan.saved_bytes) <= 8 << 10
        if budget is not None:
            assert call.plan.peak_bytes <= call.plan.budget_bytes
            assert len(call.plan.order) > len(set(call.plan.order))


def test_a_function_that_breaks_graphs_is_run_as_it_is():
    model, (x, y) = example("mlp")
    seen = []

    def loss(x, y):
        seen.append(type(x).__name__)
        return model(x, y) * 2

    call = ckpt.torch.checkpoint(loss, budget="0.8x")
    call(x, y).backward()
    got = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    loss(x, y).backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(got, model.parameters(), strict=True))
    assert seen == ["FakeTensor", "Tensor", "Tensor"]


def test_steps_follow_one_another_and_may_overlap():
    model, inputs = example("gpt")
    call = ckpt.torch.checkpoint(model, budget="0.8x")
    first, second = call(*inputs), call(*inputs)
    second.backward()
    first.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_overwritten_activations_are_kept():
    net = torch.nn.Sequential(
        *(part for _ in range(4) for part in (torch.nn.Linear(32, 32), torch.nn.ReLU(inplace=True)))
    )
    x = torch.randn(256, 32)
    net(x).square().sum().backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    call = ckpt.torch.checkpoint(lambda x: net(x).square().sum())
    call(x).backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(expected, net.parameters(), strict=True))
    assert any(run.once == "it is overwritten" for run in call.plan.tape.runs)


def test_plans_name_modules_and_lines():
    model, inputs = example("gpt")
    call = ckpt.torch.checkpoint(model, budget="0.7x")
    text = str(call.plan_for(*inputs))
    assert "blocks.0.wide" in text
    assert "route eager" in text


def test_without_gradients_the_function_just_runs():
    model, inputs = example("mlp")
    call = ckpt.torch.checkpoint(model, budget="1KiB")
    with torch.no_grad():
        assert torch.equal(call(*inputs), model(*inputs))
    with pytest.raises(TraceError, match="nothing has been planned"):
        call.plan


# --- what is refused ------------------------------------------------------------------------------


def test_a_budget_that_cannot_be_met():
    model, inputs = example("mlp")
    with pytest.raises(BudgetError, match=r"tanh.*torch_nets\.py:\d+") as refused:
        ckpt.torch.checkpoint(model, budget="0.1x")(*inputs)
    assert "or use ckpt.torch.compile" in str(refused.value)
    least = refused.value.min_bytes
    plan = ckpt.torch.checkpoint(model, budget=least).plan_for(*inputs)
    assert plan.peak_bytes == least == plan.budget_bytes
    with pytest.raises(BudgetError):
        ckpt.torch.checkpoint(model, budget=refused.value.lower_bound_bytes - 1).plan_for(*inputs)


@pytest.mark.parametrize("name", ["mlp", "unet"])
def test_the_least_budget_that_is_named_works_and_is_not_below_what_is_proved(name):
    model, inputs = example(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected, _ = step(model, model, inputs, state)
    with pytest.raises(BudgetError) as refused:
        ckpt.torch.checkpoint(model, budget=0).plan_for(*inputs)
    call = ckpt.torch.checkpoint(model, budget=refused.value.min_bytes)
    found, held_bytes = eager_step(call, model, inputs, state)
    assert all(map(torch.equal, found, expected))
    assert abs(held_bytes - call.plan.saved_bytes) <= 8 << 10
    assert refused.value.lower_bound_bytes <= call.plan.peak_bytes <= refused.value.min_bytes
    assert call.plan.decision.bound_seconds <= call.plan.cost.seconds
    # What autograd runs cannot run twice.
    assert all(call.plan.times[run.name] == 1 for run in call.plan.tape.half("backward"))


def test_a_number_taken_out_of_a_tensor():
    def loss(x):
        return x.sum() * x.max().item()

    with pytest.raises(TraceError, match="takes a number out of a tensor"):
        ckpt.torch.checkpoint(loss)(torch.ones(3, requires_grad=True))


def test_a_size_that_depends_on_data():
    with pytest.raises(TraceError, match="a size depends on data"):
        ckpt.torch.checkpoint(lambda x: (x[x > 0] ** 2).sum())(torch.ones(3, requires_grad=True))


def test_what_cannot_be_called():
    for wrap in (ckpt.torch.checkpoint, ckpt.torch.compile):
        with pytest.raises(TraceError, match="not a int"):
            wrap(3)


def test_parameters_that_the_forward_half_overwrites_are_planned_around():
    class Shrinking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(32))

        def forward(self, x):
            with torch.no_grad():
                self.scale.mul_(0.9)
            for _ in range(4):
                x = torch.tanh(x * self.scale)
            return x.sum()

    x, found = torch.linspace(-1, 1, 32), []
    for wrap in (
        lambda model: model,
        ckpt.torch.checkpoint,
        lambda model: ckpt.torch.compile(model, backend="aot_eager"),
    ):
        model = Shrinking()
        wrap(model)(x).backward()
        found.append((model.scale.detach(), model.scale.grad))
    expected, *others = found
    assert all(all(map(torch.equal, expected, other)) for other in others)


def test_nothing_to_differentiate():
    with pytest.raises(TraceError, match="no scalar that needs a gradient"):
        ckpt.torch.checkpoint(torch.sum)(torch.ones(3))
    model, inputs = example("mlp")
    with torch.inference_mode(), pytest.raises(TraceError, match=r"leave torch\.no_grad\(\)"):
        ckpt.torch.checkpoint(model).plan_for(*inputs)


def test_another_sequence_of_operations_than_was_planned():
    times = []

    def loss(x):
        times.append(1)
        for _ in times:
            x = x.tanh()
        return x.sum()

    with pytest.raises(TraceError, match="not the one that was planned"):
        ckpt.torch.checkpoint(loss)(torch.ones(3, requires_grad=True))


def test_a_second_backward_pass():
    model, inputs = example("mlp")
    loss = ckpt.torch.checkpoint(model, budget="0.8x")(*inputs)
    loss.backward(retain_graph=True)
    with pytest.raises(PlanError, match="one backward pass"):
        loss.backward()
