"""Eager training under a byte budget: any callable that gives a loss."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from ckpt.choice import Budget, Limits
from ckpt.cost.device import Device
from ckpt.errors import TraceError
from ckpt.torch.asking import decide
from ckpt.torch.copies import Event, forward_once, with_frees, without_dead_events
from ckpt.torch.plan import Plan
from ckpt.torch.price import Objective, tensors
from ckpt.torch.priced import Priced, priced
from ckpt.torch.record import Seen, observe
from ckpt.torch.replay import Replay
from ckpt.torch.wishes import Wishes

_HINT = (
    ", or use ckpt.torch.compile: eager PyTorch runs everything once in the forward half, where "
    "a compiled model may run things again"
)


class Checkpointed:
    """A function whose backward pass runs again what its plan did not save.

    Attributes:
        plan: of the shapes that were used last.
    """

    def __init__(self, f: Callable[..., Any], wishes: Wishes) -> None:
        self._f, self._wishes = f, wishes
        self._steps: dict[Any, tuple[Seen, Plan]] = {}
        self._last: Plan | None = None
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the forward half; call backward() on the loss as ever.

        Raises:
            BudgetError: no plan fits.
            TraceError: the function cannot be seen on fake tensors, or runs another sequence of
                operations than when it was seen.
        """
        if not torch.is_grad_enabled():
            return self._f(*args, **kwargs)
        seen, self._last = self._planned(args, kwargs)
        replay = Replay(seen, self._last.events)
        with torch.autograd.graph.saved_tensors_hooks(replay.pack, replay.unpack), replay:
            result = self._f(*args, **kwargs)
        replay.finish_forward()
        return result

    @property
    def plan(self) -> Plan:
        """The plan of the shapes that were used last.

        Raises:
            TraceError: nothing has been planned yet.
        """
        if self._last is None:
            raise TraceError("nothing has been planned: call the function first")
        return self._last

    def plan_for(self, *args: Any, **kwargs: Any) -> Plan:
        """The plan for arguments, real or fake, without running anything."""
        return self._planned(args, kwargs)[1]

    def _planned(self, args: Any, kwargs: Any) -> tuple[Seen, Plan]:
        key = _signature(args, kwargs, self._f)
        if key not in self._steps:
            began = time.perf_counter()
            seen = observe(self._f, args, kwargs, self._wishes.prices)
            self._steps[key] = seen, _plan(seen, self._wishes, began)
        return self._steps[key]


def _plan(seen: Seen, wishes: Wishes, began: float) -> Plan:
    """A plan whose forward half runs everything once, as eager PyTorch does.

    Raises:
        BudgetError: none was found.
    """
    tape, link = seen.tape, wishes.link

    def carry_out(order: Sequence[Event]) -> tuple[tuple[Event, ...], Priced]:
        once = tuple(forward_once(tape, without_dead_events(tape, order)))
        once = once if link is None else with_frees(tape, once, link)
        return once, priced(tape, once, link, wishes.budget.reserve)

    made = decide(tape, wishes, carry_out, _HINT)
    return replace(made, solve_seconds=time.perf_counter() - began)


def _signature(args: Any, kwargs: Any, f: Any) -> Any:
    """What a plan depends on: shapes, dtypes, who needs gradients, training or not."""
    modes = tuple(part.training for part in f.modules()) if isinstance(f, torch.nn.Module) else ()
    told = tuple(
        (tuple(t.shape), t.stride(), t.dtype, t.device, t.requires_grad)
        for t in tensors((args, kwargs))
    )
    return told, modes, torch.is_autocast_enabled()


def checkpoint(
    f: Callable[..., Any],
    *,
    budget: Budget | int | str | None = None,
    device: Device | str | None = None,
    objective: Objective = "seconds",
    limits: Limits | None = None,
    offload: bool = False,
) -> Checkpointed:
    """Run a function eagerly under a byte budget on the peak of a training step.

    The first call with new shapes watches the function once on fake tensors, forward and backward,
    and plans. It must run the same operations whenever it is called with these shapes. What it
    holds in variables of its own beyond their last use comes on top of the planned peak. Random
    numbers are never drawn again: they are saved.

    Args:
        f: gives a scalar loss, alone or first among its results.
        budget: as for `ckpt.torch.compile`.
        device: whose costs to plan with, or its name; by default this processor.
        objective: "seconds", or "flops" alone.
        limits: how hard to search.
        offload: let values wait in host memory, at the price of the device's `host_link`.

    Raises:
        TraceError: f cannot be called, or an argument is not known.
        PolicyError: the budget is not one.
        CkptError: offload is asked for, and the device has no host_link.

    >>> net = torch.nn.Sequential(*[torch.nn.Linear(64, 64), torch.nn.Tanh()] * 8)
    >>> step = checkpoint(lambda x: net(x).square().mean(), budget="0.8x")
    >>> step(torch.ones(512, 64)).backward()
    >>> step.plan.peak_bytes <= step.plan.budget_bytes
    True
    """
    return Checkpointed(
        f,
        Wishes.of(
            f,
            "eager",
            budget=budget,
            device=device,
            objective=objective,
            limits=limits,
            offload=offload,
        ),
    )
