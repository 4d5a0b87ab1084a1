"""Whatever the budget: the same bits, the planned bytes, and never more than was allowed."""

import pytest
import torch

import ckpt.torch
from ckpt.choice import Budget, Limits
from ckpt.errors import BudgetError, CkptError, TraceError, UnsupportedOpError
from experiments.models.torch_nets import NAMES, example
from experiments.torch_step import step
from policies import PolicyError

FEW = 8 << 10
"""Bytes of input-side tensors that autograd saves besides what is planned."""


def same(a, b):
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.mark.parametrize("name", NAMES)
def test_loss_gradients_and_buffers_are_the_same_bits_under_every_budget(name):
    model, inputs = example(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected, _ = step(model, model, inputs, state)
    peaks = []
    for budget in (None, "0.7x"):
        planned = ckpt.torch.compile(model, budget=budget, backend="aot_eager")
        found, saved_bytes = step(planned, model, inputs, state)
        assert same(found, expected)
        assert abs(saved_bytes - planned.plan.saved_bytes) <= FEW
        if budget is not None:
            assert planned.plan.peak_bytes <= planned.plan.budget_bytes
        peaks.append(planned.plan.peak_bytes)
    assert peaks[0] > peaks[1]


def test_dropout_is_the_same_in_what_is_recomputed_and_the_plan_says_that_it_is_saved():
    model, inputs = example("gpt")
    expected, _ = step(model, model, inputs)
    planned = ckpt.torch.compile(model, budget="0.5x", backend="aot_eager")
    found, _ = step(planned, model, inputs)
    assert same(found, expected)
    assert planned.plan.cost.recomputed_flops > 0
    assert "random numbers are drawn once" in str(planned.plan)
    dropouts = [run for run in planned.plan.tape.runs if "dropout" in run.op]
    assert dropouts
    assert all(planned.plan.times[run.name] == 1 for run in dropouts)


@pytest.mark.long
@pytest.mark.parametrize("budget", [None, "0.6x"])
def test_inductor_follows_the_plan(budget):
    model, inputs = example("gpt")
    model.eval()  # its random numbers are others than those of eager PyTorch
    expected, _ = step(model, model, inputs)
    planned = ckpt.torch.compile(model, budget=budget)
    found, saved_bytes = step(planned, model, inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert abs(saved_bytes - planned.plan.saved_bytes) <= FEW


@pytest.mark.long
def test_inductor_recomputes_the_same_dropout():
    model, inputs = example("gpt")
    torch._inductor.config.fallback_random = False
    found = []
    for budget in (None, "0.5x"):
        torch._dynamo.reset()
        planned = ckpt.torch.compile(model, budget=budget)
        found.append(step(planned, model, inputs)[0])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_plan_is_the_same_whenever_it_is_made_and_needs_no_memory():
    model, inputs = example("resnet")
    planned = ckpt.torch.compile(model, budget="0.7x", backend="aot_eager")
    planned(*inputs)
    torch._dynamo.reset()
    forecast = ckpt.torch.plan(model, inputs, budget="0.7x", backend="aot_eager")
    assert forecast.order == planned.plan.order
    assert forecast.peak_bytes == planned.plan.peak_bytes


def test_a_model_that_would_never_fit_here_can_be_planned():
    with ckpt.torch.fake():
        model = torch.nn.Sequential(
            *(
                layer
                for _ in range(8)
                for layer in (torch.nn.Linear(1 << 15, 1 << 15), torch.nn.Tanh())
            )
        )
        x = torch.zeros(1 << 20, 1 << 15)
    plan = ckpt.torch.plan(model, (x,), budget="1.2TiB", backend="aot_eager")
    assert (1 << 39) < plan.peak_bytes <= plan.budget_bytes
    assert plan.cost.recomputed_flops > 0


def test_results_that_are_no_scalar_and_their_tangents_are_counted():
    net = torch.nn.Linear(64, 64)
    x = torch.randn(256, 64)
    planned = ckpt.torch.compile(net, backend="aot_eager")
    planned(x).sin().sum().backward()
    size = 256 * 64 * 4
    parameters = sum(p.numel() * 4 for p in net.parameters())
    # input, result and tangent, parameters and their gradients
    assert planned.plan.peak_bytes == 3 * size + 2 * parameters


def test_attributes_and_checkpoints_are_those_of_the_model():
    model, _ = example("mlp")
    planned = ckpt.torch.compile(model, backend="aot_eager")
    assert planned.layers is model.layers
    assert {k.removeprefix("_orig_mod.") for k in planned.state_dict()} == set(model.state_dict())
    with pytest.raises(AttributeError):
        planned.nothing_of_that_name


def test_new_shapes_get_a_plan_of_their_own():
    model, (x, y) = example("mlp")
    planned = ckpt.torch.compile(model, budget="0.8x", backend="aot_eager")
    planned(x, y)
    planned(x[:256], y[:256])
    assert len(planned.plans) == 2
    assert planned.plans[1].peak_bytes < planned.plans[0].peak_bytes


# --- what is refused ------------------------------------------------------------------------------


def test_a_budget_below_the_least_is_refused_with_lines_and_a_budget_that_works():
    model, inputs = example("gpt")
    with pytest.raises(BudgetError, match=r"torch_nets.py:\d+") as refused:
        ckpt.torch.plan(model, inputs, budget="0.1x", backend="aot_eager")
    least = refused.value.min_bytes
    plan = ckpt.torch.plan(model, inputs, budget=least, backend="aot_eager")
    assert plan.peak_bytes <= least


def test_a_budget_that_cannot_be_met_is_refused_when_the_model_is_called():
    model, inputs = example("mlp")
    planned = ckpt.torch.compile(model, budget="1KiB", backend="aot_eager")
    with pytest.raises(BudgetError, match="known to work"):
        planned(*inputs)


def test_a_graph_break_is_refused_with_its_line():
    def broken(x):
        y = x.sin()
        print("here")
        return y.sum()

    def branching(x):
        return x.sin().sum() if x.sum() > 0 else x.cos().sum()

    x = torch.ones(3, requires_grad=True)
    for f in (broken, branching):
        with pytest.raises(TraceError, match=r"test_compile\.py:\d+.*\n.*") as refused:
            ckpt.torch.compile(f, backend="aot_eager")(x)
        assert "use ckpt.torch.checkpoint" in str(refused.value)


def test_more_shapes_than_there_are_graphs():
    net = torch.nn.Linear(2, 2)
    planned = ckpt.torch.compile(net, backend="aot_eager")
    with pytest.raises(TraceError, match="pad them to a few shapes"):
        for rows in range(2, 2 + 2 * torch._dynamo.config.recompile_limit):
            planned(torch.ones(rows, 2))
    assert len(planned.plans) == torch._dynamo.config.recompile_limit


def test_nothing_to_differentiate_is_said():
    net = torch.nn.Linear(3, 3).requires_grad_(False)
    with pytest.raises(TraceError, match="needs a gradient"):
        ckpt.torch.plan(net, (torch.ones(2, 3),), backend="aot_eager")


def test_without_gradients_a_compiled_model_just_runs():
    net = torch.nn.Linear(3, 3)
    planned = ckpt.torch.compile(net, budget="1KiB", backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(planned(torch.ones(2, 3)), net(torch.ones(2, 3)))
    with torch.inference_mode():
        assert torch.equal(planned(torch.ones(2, 3)), net(torch.ones(2, 3)))
    with pytest.raises(TraceError, match="nothing has been planned"):
        planned.plan


def test_sizes_that_depend_on_data_are_refused_with_their_line():
    def picked(x):
        return (x[x > 0] ** 2).sum()

    x = torch.randn(8, requires_grad=True)
    with pytest.raises(UnsupportedOpError, match="depends on data.*test_compile.py"):
        ckpt.torch.plan(picked, (x,), backend="aot_eager")


def test_a_forward_that_overwrites_its_buffers_is_planned_around():
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(32))
            self.layer = torch.nn.Linear(32, 32)

        def forward(self, x):
            for _ in range(4):
                x = torch.tanh(self.layer(torch.sigmoid(x))) - self.mean
            self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
            return x.square().sum()

    torch.manual_seed(0)
    model, x = Counting(), torch.randn(512, 32)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    expected, _ = step(model, model, (x,), state)
    planned = ckpt.torch.compile(model, budget="0.9x", backend="aot_eager")
    assert same(step(planned, model, (x,), state)[0], expected)
    assert max(planned.plan.times.values()) > 1


def test_operations_that_are_not_pytorchs_own_never_run_twice():
    @torch.library.custom_op("ckpt_tests::shift", mutates_args=())
    def shift(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    shift.register_fake(torch.empty_like)
    shift.register_autograd(lambda ctx, grad: grad)

    def f(x, w):
        for _ in range(4):
            x = torch.tanh(shift(x) @ w)
        return x.sum()

    x, w = torch.randn(64, 16), torch.randn(16, 16, requires_grad=True)
    plan = ckpt.torch.plan(f, (x, w), budget="0.8x", backend="aot_eager")
    shifts = [run for run in plan.tape.runs if "shift" in run.op]
    assert len(shifts) == 4
    assert all(run.once == "it is a custom operation" for run in shifts)
    assert all(plan.times[run.name] == 1 for run in shifts)


def test_a_plan_without_gradients_is_refused():
    model, inputs = example("mlp")
    for off in (torch.no_grad(), torch.inference_mode()):
        with off, pytest.raises(TraceError, match=r"leave torch\.no_grad\(\)"):
            ckpt.torch.plan(model, inputs, backend="aot_eager")


def test_what_lives_elsewhere_counts():
    model, inputs = example("mlp")
    peaks = []
    for reserve in (0, "1MiB"):
        budget = Budget(reserve=reserve)
        compiled = ckpt.torch.plan(model, inputs, budget=budget, backend="aot_eager")
        eager = ckpt.torch.checkpoint(model, budget=budget).plan_for(*inputs)
        peaks.append((compiled.peak_bytes, eager.peak_bytes))
    assert [more - less for less, more in zip(*peaks, strict=True)] == [1 << 20, 1 << 20]
    tight = Budget(bytes=(1 << 20) + peaks[0][0] * 3 // 4, reserve="1MiB")
    for plan in (
        ckpt.torch.plan(model, inputs, budget=tight, backend="aot_eager"),
        ckpt.torch.checkpoint(model, budget=tight).plan_for(*inputs),
    ):
        assert plan.peak_bytes <= plan.budget_bytes == tight.bytes
        assert plan.cost.recomputed_flops > 0


def test_a_budget_of_overhead():
    model, inputs = example("mlp")
    told = {"budget": Budget(overhead=0.2), "limits": Limits(work=100)}
    for plan in (
        ckpt.torch.plan(model, inputs, backend="aot_eager", **told),
        ckpt.torch.checkpoint(model, **told).plan_for(*inputs),
    ):
        assert 0 < plan.overhead <= 0.2
        assert plan.peak_bytes <= plan.budget_bytes


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"budget": "lots"}, "not a number of bytes: 'lots'"),
        ({"budget": -1}, "cannot be negative"),
        ({"objective": "joules"}, "there are seconds, flops"),
        ({"device": "h1000"}, "no device 'h1000'"),
        ({"backend": "eagre"}, "there are inductor, aot_eager"),
    ],
)
def test_words_that_mean_nothing_are_refused_at_once(told, said):
    model, inputs = example("mlp")
    routes = [ckpt.torch.compile, lambda net, **told: ckpt.torch.plan(net, inputs, **told)]
    if "backend" not in told:
        routes.append(ckpt.torch.checkpoint)
    if "budget" not in told:
        routes.append(lambda net, **told: ckpt.torch.frontier(net, inputs, **told))
    for route in routes:
        with pytest.raises((CkptError, PolicyError), match=said):
            route(model, **told)


def test_arguments_stand_in_a_tuple():
    with pytest.raises(TraceError, match=r"give \(x,\)"):
        ckpt.torch.plan(torch.nn.Linear(3, 3), torch.ones(2, 3))


def test_an_option_that_nobody_reads_is_refused():
    with pytest.raises(TraceError, match="no option 'max_autotune'"):
        ckpt.torch.compile(torch.nn.Linear(2, 2), backend="aot_eager", max_autotune=True)
