"""One plan for each program, set of differentiated arguments, and request."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ckpt.jax.deciding import planned
from ckpt.jax.device import Accelerator
from ckpt.jax.graph import Kernels, kernels_of
from ckpt.jax.loops import loops_of
from ckpt.jax.placing import Placing
from ckpt.jax.plans import Plan, Request
from ckpt.jax.trace import joint_of
from ckpt.jax.within_loops import planned_within_loops

_How = tuple[tuple[bool, ...], tuple[int, ...], tuple[Placing, ...]]
"""Which arguments are differentiated, how many examples each holds, and how it is placed."""


@dataclass(frozen=True, eq=False)
class _Kept:
    """Plans of one traced program, by what was asked for."""

    plans: dict[Any, Plan] = field(default_factory=dict[Any, Plan])
    kernels: dict[Any, Kernels] = field(default_factory=dict[Any, Kernels])


_KEPT: WeakKeyDictionary[Any, _Kept] = WeakKeyDictionary()


def plan_for(
    jaxpr: Any,
    wanted: tuple[bool, ...],
    request: Request,
    batched: tuple[int, ...] = (),
    places: tuple[Placing, ...] = (),
) -> Plan:
    """The plan of a step, made once for each program and request.

    Args:
        jaxpr: the program, all arrays among its arguments.
        wanted: which arguments to differentiate by.
        request: what was asked for.
        batched: how many examples outer `vmap`s hold of each argument; nothing without one.
        places: how each argument is placed on a mesh; nothing without one.

    Raises:
        BudgetError: no plan fits; says the smallest budget known to work, and what is alive
            together at the tightest kernel.
    """
    kept = _KEPT.setdefault(jaxpr, _Kept())
    key = (request, wanted, batched, places)
    if key not in kept.plans:
        kernels = _kernels(kept, jaxpr, request.device, (wanted, batched, places))
        loops = loops_of(jaxpr, wanted, batched, places)
        capped = request.budget.bytes is not None or request.budget.fraction is not None
        if loops and capped:
            plan = planned_within_loops(jaxpr, kernels, loops, request, plan_for)
        else:
            plan = planned(kernels, request)
        kept.plans[key] = plan
    return kept.plans[key]


def _kernels(kept: _Kept, jaxpr: Any, device: Accelerator, how: _How) -> Kernels:
    """The kernels of a step, traced once for each device."""
    key = (*how, id(device))
    if key not in kept.kernels:
        kept.kernels[key] = kernels_of(joint_of(jaxpr, *how), device)
    return kept.kernels[key]
