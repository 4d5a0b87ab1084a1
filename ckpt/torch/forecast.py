"""Plans without memory: the joint graph of a model on fake tensors."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from ckpt.choice import Budget, Limits
from ckpt.cost.device import Device
from ckpt.errors import TraceError
from ckpt.torch.compiling import plain_errors
from ckpt.torch.joint import Joint
from ckpt.torch.partition import planned, prepared
from ckpt.torch.plan import Plan
from ckpt.torch.price import Objective, Prices
from ckpt.torch.private import (
    NO_CACHE,
    aot_backend,
    check_version,
    compile_errors,
    fake_mode,
    fake_mode_of,
    inductor_partitioner,
)
from ckpt.torch.wishes import Backend, Wishes


@contextmanager
def fake() -> Generator[None]:
    """Within it, tensors and models have shapes and no memory, so that any size can be planned.

    >>> with fake():
    ...     net = torch.nn.Linear(1 << 20, 1 << 20)  # four terabytes
    >>> tuple(net.weight.shape)
    (1048576, 1048576)
    """
    with fake_mode():
        yield


def plan(
    model: Callable[..., Any],
    example_inputs: Sequence[Any] | Mapping[str, Any],
    *,
    budget: Budget | int | str | None = None,
    backend: Backend = "inductor",
    device: Device | str | None = None,
    objective: Objective = "seconds",
    limits: Limits | None = None,
    offload: bool = False,
) -> Plan:
    """Tell if a training step will fit, and at what cost, without running it.

    Nothing is allocated: the step is traced up to its joint graph, as `ckpt.torch.compile` would,
    and planned. Model and inputs may be real, or be made within `ckpt.torch.fake()`. A model that
    gives no scalar is planned for one gradient of the shape of each of its results.

    Args:
        model: a module, or a function of tensors.
        example_inputs: its positional arguments, or a dictionary of keyword arguments.
        budget: as for `ckpt.torch.compile`.
        backend: whose operations to plan: Inductor decomposes, "aot_eager" does not.
        device: whose costs to plan with, or its name; by default this processor.
        objective: "seconds", or "flops" alone.
        limits: how hard to search.
        offload: let values wait in host memory, at the price of the device's `host_link`.

    Raises:
        BudgetError: no plan fits; says the smallest budget that is known to.
        TraceError: the model is not one graph, or nothing in it needs a gradient; or an argument
            is not known.

    >>> with fake():
    ...     net = torch.nn.Sequential(*[torch.nn.Linear(64, 64), torch.nn.Tanh()] * 8)
    ...     x = torch.ones(512, 64)
    >>> made = plan(net, (x,), budget="0.8x", backend="aot_eager")
    >>> made.peak_bytes <= made.budget_bytes
    True
    """
    wishes = Wishes.of(
        model,
        backend,
        budget=budget,
        device=device,
        objective=objective,
        limits=limits,
        offload=offload,
    )
    return planned(joint_of(model, example_inputs, wishes.prices, backend), wishes)


class _Stop(Exception):  # noqa: N818 (it is no error)
    """Carries a joint graph out of the compiler."""

    def __init__(self, module: Any, n_outputs: int) -> None:
        self.module, self.n_outputs = module, n_outputs


def joint_of(
    model: Callable[..., Any],
    example_inputs: Sequence[Any] | Mapping[str, Any],
    prices: Prices,
    backend: Backend = "inductor",
) -> Joint:
    """The joint graph of a model, read.

    Raises:
        TraceError: the model is not one graph, or nothing in it needs a gradient.
    """
    return prepared(*traced(model, example_inputs, backend), prices)


def traced(
    model: Callable[..., Any],
    example_inputs: Sequence[Any] | Mapping[str, Any],
    backend: Backend = "inductor",
) -> tuple[Any, int]:
    """The joint graph of a model as AOTAutograd hands it to a partition, and its results' number.

    Raises:
        TraceError: the model is not one graph, or nothing in it needs a gradient.
    """
    check_version()
    if isinstance(example_inputs, torch.Tensor):
        raise TraceError(
            "example_inputs are a tuple of arguments, or a dictionary of keyword arguments: of a "
            "single tensor x give (x,)"
        )
    named = example_inputs if isinstance(example_inputs, Mapping) else {}
    args = () if isinstance(example_inputs, Mapping) else tuple(example_inputs)

    def stop(module: Any, _inputs: Sequence[Any], *, num_fwd_outputs: int, **_told: Any) -> Any:
        raise _Stop(module, num_fwd_outputs)

    told: dict[str, Any] = {"fullgraph": True, "dynamic": False}
    if backend == "aot_eager":
        told["backend"] = aot_backend(stop)
    else:
        told["options"] = {**NO_CACHE, "custom_partitioner_fn": inductor_partitioner(stop)}
    given = [x for x in (*args, *named.values()) if isinstance(x, torch.Tensor)]
    if isinstance(model, torch.nn.Module):
        given += [*model.parameters(), *model.buffers()]
    mode = fake_mode_of(given)
    failed, *_ = compile_errors()
    try:
        with mode or nullcontext(), plain_errors():
            torch.compile(model, **told)(*args, **named)
    except failed as error:
        stopped = getattr(error, "inner_exception", None)
        if isinstance(stopped, _Stop):
            return stopped.module, stopped.n_outputs
        raise
    except _Stop as stopped:
        return stopped.module, stopped.n_outputs
    raise TraceError(
        "nothing in the model needs a gradient (or gradients are disabled), so that there is no "
        "backward half to plan: set requires_grad on parameters or arguments, and leave "
        "torch.no_grad() and torch.inference_mode()"
    )
