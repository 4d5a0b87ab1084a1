"""The largest batch, length or depth whose gradient step fits a budget, by planning alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ckpt.choice import Budget, Limits
from ckpt.errors import ArgumentError, BudgetError
from ckpt.inspect.largest import largest
from ckpt.jax.checkpointed import checkpoint
from ckpt.jax.device import Accelerator
from ckpt.jax.planning import Plan


@dataclass(frozen=True, eq=False)
class Fit:
    """The answer.

    Attributes:
        over: what was varied.
        largest: the largest value that fits.
        plan: for it.
        refused: the smallest value for which no plan was found; None if the largest allowed fits.
        tried: how many plans were made.
    """

    over: str
    largest: int
    plan: Plan
    refused: int | None
    tried: int


def fit(
    f: Callable[..., Any],
    inputs: Callable[..., tuple[Any, ...]],
    *,
    budget: Budget | int | str,
    over: str = "batch",
    limit: int = 1 << 20,
    step: int = 1,
    close: float = 0.01,
    argnums: int | Sequence[int] = 0,
    reserve: int | str = 0,
    device: Accelerator | str | None = None,
    limits: Limits | None = None,
) -> Fit:
    """Find the largest value of a keyword of `inputs` for which the gradient of `f` fits.

    Args:
        f: the function.
        inputs: gives its arguments, as arrays or `jax.ShapeDtypeStruct`s, for a value of the
            keyword: ``inputs(batch=64)``.
        budget: in bytes; a fraction would grow with the step.
        over: the keyword: a batch, a length, a depth.
        limit: the largest value to try.
        step: try multiples of it only.
        close: stop when what fits and what does not are within this fraction.
        argnums: by which arguments to differentiate.
        reserve: bytes of the budget for what lives elsewhere.
        device: whose costs to plan with.
        limits: how hard to search for each plan.

    Raises:
        BudgetError: not even the smallest value fits.
        ArgumentError: the budget is not in bytes.

    >>> import jax, jax.numpy as jnp
    >>> def loss(w, x):
    ...     return jnp.tanh(jnp.tanh(x @ w) @ w).mean()
    >>> def inputs(batch):
    ...     return (jax.ShapeDtypeStruct((64, 64), "float32"),
    ...             jax.ShapeDtypeStruct((batch, 64), "float32"))
    >>> found = fit(loss, inputs, budget="1MiB", device="h100")
    >>> found.plan.peak_bytes <= 2**20 < found.refused * 64 * 4 * 4
    True
    """
    if Budget.of(budget).bytes is None:
        raise ArgumentError(
            "give the budget in bytes, such as 12GiB: a fraction grows with the step"
        )
    planned = checkpoint(f, budget=budget, reserve=reserve, device=device, limits=limits)
    plans: dict[int, Plan] = {}
    refusals: dict[int, BudgetError] = {}

    def fits(n: int) -> bool:
        try:
            plans[n] = planned.plan_of(inputs(**{over: n * step}), {}, argnums)
        except BudgetError as error:
            refusals[n] = error
            return False
        return True

    best = largest(fits, limit // step, close=close)
    if best == 0:
        raise refusals[min(refusals)]
    smallest = min((n for n in refusals if n > best), default=None)
    refused = None if smallest is None else smallest * step
    return Fit(over, best * step, plans[best], refused, len(plans) + len(refusals))
