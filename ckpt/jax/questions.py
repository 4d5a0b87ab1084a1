"""Questions about a step before it runs: will it fit, at what cost, what is kept and why."""

from collections.abc import Callable, Sequence
from typing import Any

from ckpt.choice import Budget, Limits
from ckpt.jax.checking import compiled_figure
from ckpt.jax.checkpointed import Checkpointed, checkpoint
from ckpt.jax.device import Accelerator
from ckpt.jax.internals import jax
from ckpt.jax.plans import Plan
from ckpt.jax.report import Explanation


def plan(
    f: Callable[..., Any],
    *args: Any,
    budget: Budget | int | str | None = None,
    argnums: int | Sequence[int] = 0,
    reserve: int | str = 0,
    device: Accelerator | str | None = None,
    policy: str = "auto",
    limits: Limits | None = None,
    offload: bool = False,
    pins: bool = True,
    **kwargs: Any,
) -> Plan:
    """Plan the gradient of a function from shapes alone: nothing is allocated or compiled.

    Args:
        f: a function, or the result of `checkpoint`, whose own options then hold.
        args: arrays, or `jax.ShapeDtypeStruct`s, in any pytree.
        budget: as for `checkpoint`.
        argnums: by which arguments to differentiate, as for `jax.grad`.
        reserve: bytes of the budget for what lives elsewhere.
        device: whose costs to plan with.
        policy: who decides.
        limits: how hard to search.
        offload: allow values to wait in host memory.
        pins: keep `jax.checkpoint`s inside `f`.
        kwargs: of the call.

    Returns:
        The plan; printed, it is a table.

    Raises:
        BudgetError: no plan fits; with the smallest budget known to work.
        DifferentiationError: there is nothing to differentiate.

    >>> import jax, jax.numpy as jnp
    >>> def loss(w, x):
    ...     for _ in range(8):
    ...         x = jnp.tanh(x @ w)
    ...     return (x * x).mean()
    >>> w = jax.ShapeDtypeStruct((4096, 4096), "bfloat16")
    >>> x = jax.ShapeDtypeStruct((65536, 4096), "bfloat16")
    >>> found = plan(loss, w, x, budget="3GiB", device="h100")
    >>> found.peak_bytes <= 3 * 2**30, found.recomputed_matmul_flops > 0
    (True, True)
    """
    if not isinstance(f, Checkpointed):
        f = checkpoint(
            f, budget=budget, reserve=reserve, device=device, policy=policy, limits=limits,
            offload=offload, pins=pins,
        )  # fmt: skip
    return f.plan_of(args, kwargs, argnums)


def explain(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] = 0,
    compiled: bool | None = None,
    **kwargs: Any,
) -> Explanation:
    """Tell what a checkpointed function saves, recomputes and offloads, and why.

    Args:
        f: the result of `checkpoint`; another function is explained as it is, everything saved.
        args: arrays or `jax.ShapeDtypeStruct`s.
        argnums: by which arguments to differentiate.
        compiled: compile the step, to show what XLA allocates; by default if arrays are given.
        kwargs: of the call.

    Raises:
        BudgetError: no plan fits.

    >>> import jax, jax.numpy as jnp
    >>> f = checkpoint(lambda w, x: jnp.sin(x @ w).sum(), budget="1MiB", device="h100")
    >>> told = explain(f, jnp.ones((8, 8)), jnp.ones((8, 8)), compiled=False)
    >>> "no plan within the budget takes less" in str(told)
    True
    """
    planned = f if isinstance(f, Checkpointed) else checkpoint(f)
    found = planned.plan_of(args, kwargs, argnums)
    leaves = jax.tree.leaves((args, kwargs))
    concrete = not any(isinstance(x, jax.ShapeDtypeStruct) for x in leaves)
    figure = None
    if concrete if compiled is None else compiled:
        figure = compiled_figure(planned, args, kwargs, argnums)
    return Explanation(found, figure)
