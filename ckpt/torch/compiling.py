"""torch.compile under a byte budget."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch

from ckpt.choice import Budget, Limits
from ckpt.cost.device import Device
from ckpt.errors import CkptError, TraceError
from ckpt.torch.partition import Partition
from ckpt.torch.plan import Plan
from ckpt.torch.price import Objective
from ckpt.torch.private import (
    NO_CACHE,
    aot_backend,
    check_version,
    compile_errors,
    inductor_partitioner,
)
from ckpt.torch.wishes import Backend, Wishes


class Planned(torch.nn.Module):
    """A model or function compiled under a budget: call it as what it was made of.

    A model's parameters stand below `_orig_mod`, as after `torch.compile`, so that checkpoints of
    the two are one. Attributes of the model can be read through it.

    Attributes:
        plans: one for every graph that was planned.
    """

    def __init__(self, model: Callable[..., Any], partition: Partition, **told: Any) -> None:
        super().__init__()
        if isinstance(model, torch.nn.Module):
            self._orig_mod = model
        self._partition = partition
        # torch.compile gives a module too; past nn.Module it is not counted as a part of this one.
        object.__setattr__(self, "_call", torch.compile(model, **told))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; the first call with new shapes traces, plans and compiles.

        Raises:
            BudgetError: no plan fits; says the smallest budget that is known to.
            TraceError: the model is not one graph, and where it breaks; or it came with more
                shapes than torch.compile makes graphs for.
        """
        with plain_errors():
            return self._call(*args, **kwargs)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans made so far."""
        return tuple(self._partition.plans)

    @property
    def plan(self) -> Plan:
        """The plan that was made last.

        Raises:
            TraceError: nothing has been planned yet.
        """
        if not self._partition.plans:
            raise TraceError(
                "nothing has been planned: call the model first, with gradients enabled and a "
                "parameter or argument that requires one"
            )
        return self._partition.plans[-1]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            modules = self.__dict__.get("_modules", {})
            if name == "_orig_mod" or "_orig_mod" not in modules:
                raise
            return getattr(modules["_orig_mod"], name)


def compile(  # noqa: A001 (as torch.compile)
    model: Callable[..., Any],
    *,
    budget: Budget | int | str | None = None,
    backend: Backend = "inductor",
    device: Device | str | None = None,
    objective: Objective = "seconds",
    limits: Limits | None = None,
    offload: bool = False,
    **options: Any,
) -> Planned:
    """torch.compile with a byte budget on the true peak of a training step.

    The peak counts parameters, buffers, arguments, activations, gradients and temporaries of the
    compiled step; optimizer state and whatever runs outside are for `Budget(reserve=...)`. Every
    new set of shapes gets its own plan. Loss and gradients are those of the model without a
    plan, to the last bit with the backend "aot_eager".

    Of what processes share, each counts its own part, and collectives run once. With
    `fully_shard`, compile the blocks and shard what comes back.

    Args:
        model: a module, or a function of tensors.
        budget: bytes, "20GiB", "0.5x" of the peak without recomputation, or a Budget.
        backend: who runs the halves: "inductor", or "aot_eager" operation by operation.
        device: whose costs to plan with, or its name; by default this processor.
        objective: "seconds", or "flops" alone.
        limits: how hard to search.
        offload: let values wait in host memory, at the price of the device's `host_link`.
        options: for Inductor, as `torch.compile(options=...)` takes them.

    Raises:
        TorchVersionError: this PyTorch is too old or unknown.
        TraceError: the model cannot be called, or an argument is not known.
        PolicyError: the budget is not one.
        CkptError: offload is asked for, and the device has no host_link.

    >>> import torch
    >>> net = torch.nn.Sequential(*[torch.nn.Linear(64, 64), torch.nn.Tanh()] * 8)
    >>> model = compile(net, budget="0.8x", backend="aot_eager")
    >>> model(torch.ones(512, 64)).sum().backward()
    >>> model.plan.peak_bytes <= model.plan.budget_bytes
    True
    """
    check_version()
    partition = Partition(
        Wishes.of(
            model,
            backend,
            budget=budget,
            device=device,
            objective=objective,
            limits=limits,
            offload=offload,
        )
    )
    told: dict[str, Any] = {"fullgraph": True, "dynamic": False}
    if backend == "aot_eager":
        if options:
            raise TraceError(
                f"aot_eager has no option {next(iter(options))!r}; options are for inductor"
            )
        told["backend"] = aot_backend(partition)
    else:
        told["options"] = {
            **NO_CACHE,
            **options,
            "custom_partitioner_fn": inductor_partitioner(partition),
        }
    return Planned(model, partition, **told)


@contextmanager
def plain_errors() -> Generator[None]:
    """Turn what Dynamo raises into our errors, without its depths.

    Raises:
        CkptError: ours, as it was raised.
        TraceError: the program is not one graph, or it is too many.
    """
    failed, unsupported, too_many = compile_errors()
    try:
        yield
    except failed as error:
        inner = getattr(error, "inner_exception", None)
        if isinstance(inner, CkptError):
            raise inner.with_traceback(None) from None
        raise
    except unsupported as error:
        said = str(error).strip().split("\n\n")[0]
        raise TraceError(
            f"the model is not one graph, so that no budget can hold for all of it{_line(error)}:\n"
            f"{said}\nTake the cause out of the model, or use ckpt.torch.checkpoint, which runs it "
            "as it is (but must not look at values either)."
        ) from None
    except too_many:
        raise TraceError(
            "the model was called with more kinds of arguments than torch.compile makes graphs "
            "for: pad them to a few shapes, or raise torch._dynamo.config.recompile_limit"
        ) from None
    except RuntimeError as error:
        if "found no compiled frames" not in str(error):
            raise
        raise TraceError(
            "torch.compile left the model alone, as it does while a dispatch mode is on: call it "
            "outside of ckpt.torch.checkpoint, FlopCounterMode and the like"
        ) from None


def _line(error: Exception) -> str:
    """The user's line that Dynamo names, in brackets."""
    lines = re.findall(r'File "([^"]+)", line (\d+), in ', str(error))
    return f" ({lines[-1][0].rpartition('/')[2]}:{lines[-1][1]})" if lines else ""
