"""What a user asks of a plan."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ckpt.choice import Budget, Limits, Link
from ckpt.cost.device import Device
from ckpt.errors import TraceError
from ckpt.torch.copies import link_of
from ckpt.torch.price import Objective, Prices

Backend = Literal["inductor", "aot_eager"]
"""Who runs the halves that torch.compile makes."""

Route = Literal["inductor", "aot_eager", "eager"]
"""Who runs a step: a backend, or PyTorch operation by operation."""


@dataclass(frozen=True)
class Wishes:
    """What a plan is asked for.

    Attributes:
        budget: on everything alive during a step.
        device: whose costs to plan with.
        objective: what to minimise.
        limits: how hard to search; None for the default.
        route: who runs it.
        offload: whether values may wait in host memory.
    """

    budget: Budget
    device: Device
    objective: Objective = "seconds"
    limits: Limits | None = None
    route: Route = "inductor"
    offload: bool = False

    @staticmethod
    def of(
        f: Callable[..., Any],
        route: Route,
        *,
        budget: Budget | int | str | None = None,
        device: Device | str | None = None,
        objective: Objective = "seconds",
        limits: Limits | None = None,
        offload: bool = False,
    ) -> "Wishes":
        """What a user says, checked: it is refused before anything takes time.

        Raises:
            TraceError: what is to be planned cannot be called, or a word is not known.
            PolicyError: the budget is not one.
            CkptError: offload is asked for, and the device has no host_link.

        >>> Wishes.of(print, "eagre")
        Traceback (most recent call last):
        ...
        ckpt.errors.TraceError: there is no backend 'eagre'; there are inductor, aot_eager
        """
        if not callable(f):
            raise TraceError(f"a module or a function is needed, not a {type(f).__name__}")
        for what, given, known in (
            ("backend", route, Backend if route != "eager" else Route),
            ("objective", objective, Objective),
        ):
            if given not in get_args(known):
                names = ", ".join(get_args(known))
                raise TraceError(f"there is no {what} {given!r}; there are {names}")
        wishes = Wishes(Budget.of(budget), Device.of(device), objective, limits, route, offload)
        _ = wishes.link  # a device without one is refused now
        return wishes

    @property
    def prices(self) -> Prices:
        """Costs of operations; Inductor fuses."""
        fused = self.route == "inductor"
        return Prices(self.device, fused=fused, objective=self.objective)

    @property
    def link(self) -> Link | None:
        """The way to host memory, if it may be used.

        Raises:
            CkptError: the device has none.
        """
        return link_of(self.device) if self.offload else None
