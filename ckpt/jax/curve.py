"""Step time against peak memory: our plans, and JAX's own policies as marks."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckpt.choice import Budget, Limits
from ckpt.errors import BudgetError
from ckpt.inspect import figure
from ckpt.inspect.frontier import Frontier, Point, draw, to_json, to_table
from ckpt.jax.builtin import Mark, marks_of
from ckpt.jax.checkpointed import Checkpointed, checkpoint
from ckpt.jax.device import Accelerator
from ckpt.jax.planning import plan_for
from ckpt.jax.plans import Plan

OURS = "ckpt"
"""How our plans are called beside JAX's policies."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Plans of one function for a range of budgets.

    Attributes:
        plans: one for each budget that has one, the smallest peak first.
        marks: JAX's own policies.
        frontier: both as plain points.
    """

    plans: tuple[Plan, ...]
    marks: tuple[Mark, ...]
    frontier: Frontier

    def __str__(self) -> str:
        """A table."""
        return to_table(self.frontier)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return to_json(self.frontier)

    def save(self, path: str | Path) -> None:
        """Draw the curve with the marks on it, as .png, .svg or .pdf.

        Raises:
            DrawingError: matplotlib is missing, or the suffix is not of a picture.
        """
        path = Path(path)
        figure.can_draw(path)
        drawn = draw(self.frontier, OURS)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            half = Path(folder) / path.name
            figure.save(drawn, half)
            half.replace(path)


def frontier(
    f: Callable[..., Any],
    *args: Any,
    budgets: Sequence[Budget | int | str] = (),
    points: int = 8,
    argnums: int | Sequence[int] = 0,
    device: Accelerator | str | None = None,
    limits: Limits | None = None,
    said: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> Curve:
    """Plan a function for a range of budgets, and price JAX's policies beside.

    Args:
        f: a function, or the result of `checkpoint`.
        args: arrays or `jax.ShapeDtypeStruct`s.
        budgets: by default some from the smallest known to work to the peak without recomputation,
            and the peaks of JAX's policies among them.
        points: how many budgets there are by default, besides those peaks.
        argnums: by which arguments to differentiate.
        device: whose costs to plan with.
        limits: how hard to search for each plan.
        said: told what is being planned.
        kwargs: of the call.

    >>> import jax, jax.numpy as jnp
    >>> def loss(w, x):
    ...     for _ in range(8):
    ...         x = jnp.tanh(x @ w)
    ...     return (x * x).mean()
    >>> w = jax.ShapeDtypeStruct((256, 256), "float32")
    >>> x = jax.ShapeDtypeStruct((4096, 256), "float32")
    >>> curve = frontier(loss, w, x, points=3, device="h100")
    >>> all(a.seconds >= b.seconds for a, b in zip(curve.plans, curve.plans[1:]))
    True
    """
    say = said or _silent
    if isinstance(f, Checkpointed):
        request = f.request
    else:
        request = checkpoint(f, device=device, limits=limits).request
    open_ended = replace(request, budget=Budget(reserve=request.budget.reserve))
    known = f.in_shardings if isinstance(f, Checkpointed) else None
    planned = Checkpointed(f.function if isinstance(f, Checkpointed) else f, open_ended, known)
    say("tracing")
    whole = planned.plan_of(args, kwargs, argnums)
    traced, _ = planned.trace(args, kwargs)
    wanted = whole.kernels.joint.wanted
    say("pricing JAX's policies")
    marks = tuple(marks_of(traced.jaxpr, wanted, request.device, traced.places))

    def within(budget: Budget) -> Plan:
        say(f"planning within {budget.bytes or budget.fraction}")
        asked = replace(open_ended, budget=budget)
        return plan_for(traced.jaxpr, wanted, asked, (), traced.places)

    reserve = request.budget.reserve
    smallest, floor = whole.peak_bytes, 0
    try:
        smallest = within(Budget(bytes=1, reserve=reserve)).peak_bytes
    except BudgetError as error:
        smallest, floor = error.min_bytes or smallest, error.lower_bound_bytes
    asked = [replace(Budget.of(b), reserve=reserve) for b in budgets]
    if not asked:
        sizes = {
            smallest + (whole.peak_bytes - smallest) * i // max(1, points) for i in range(points)
        }
        sizes |= {
            m.peak_bytes + reserve for m in marks if smallest < m.peak_bytes < whole.peak_bytes
        }
        asked = [Budget(bytes=size, reserve=reserve) for size in sorted(sizes)]
    plans: list[Plan] = [whole]
    refused: list[tuple[str, int]] = []
    for budget in asked:
        try:
            plans.append(within(budget))
        except BudgetError:
            refused.append((OURS, budget.bytes or 0))
    plans.sort(key=lambda plan: (plan.peak_bytes, plan.seconds))
    base = whole.seconds
    found = Frontier(
        getattr(planned.function, "__name__", "function"),
        (
            *(_point(plan, base) for plan in plans),
            *(_mark(mark, base) for mark in marks),
        ),
        tuple(refused),
        smallest,
        floor,
        whole.peak_bytes,
    )
    return Curve(tuple(plans), marks, found)


def _point(plan: Plan, base: float) -> Point:
    capped = plan.decision.budget_bytes
    limit = plan.problem.limit
    has_cap = limit.bytes is not None or limit.fraction is not None
    return Point(
        OURS,
        capped if has_cap else None,
        plan.peak_bytes,
        plan.peak_bytes - plan.argument_bytes,
        plan.seconds,
        plan.seconds / base - 1,
        plan.bound_seconds,
        max(0.0, plan.bound_seconds / base - 1),
        plan.decision.status.value,
    )


def _mark(mark: Mark, base: float) -> Point:
    over = mark.seconds / base - 1
    return Point(
        mark.name, None, mark.peak_bytes, mark.peak_bytes, mark.seconds, over, 0.0, 0.0, ""
    )


def _silent(what: str) -> None:
    del what
