"""`ckpt fit`: the largest batch, length or depth that a budget holds."""

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from ckpt.cli.planning import Planning, budget_of, options
from ckpt.errors import BudgetError, CkptError


class FitError(CkptError, ValueError):
    """Nothing fits, or there is nothing to search for."""


def fit(
    model: str,
    /,
    *,
    budget: str,
    over: str,
    max: int = 1 << 20,  # noqa: A002
    step: int = 1,
    reserve: str | None = None,
    planning: Planning | None = None,
    no_grad: bool = False,
    json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Find the largest batch, length or depth that a budget holds, by planning alone.

    Args:
        model: a YAML model configuration, or file.py:function.
        budget: bytes for everything alive during a step, such as 2GiB.
        over: what to vary: a key of the configuration, such as batch, or a keyword of
            example_inputs.
        max: the largest value to try.
        step: try multiples of this number only, for what must be divisible by it.
        reserve: bytes of the budget to keep for memory elsewhere.
        planning: policy, device and effort.
        no_grad: plan the function itself, without its gradient.
        json: print the result as JSON.
    """
    import json as text

    from ckpt.choice import format_bytes
    from ckpt.cli.model import load
    from ckpt.cli.news import news
    from ckpt.plan.plan import Plan

    cap = budget_of(budget, reserve, None)
    if cap.bytes is None:
        raise FitError("give the budget in bytes, such as 2GiB: a fraction grows with the model")
    if step < 1 or max < step:
        raise FitError("--step must be at least 1, and --max at least --step")
    plans: dict[int, Plan | BudgetError] = {}
    with news(f"tracing {model}") as said:
        told = options(planning, cap, said.step)

        def fits(n: int) -> bool:
            said.task(f"{over} = {n * step}")
            subject = load(model, gradient=not no_grad, changes={over: n * step})
            try:
                plans[n] = subject.planned(told).plan
            except BudgetError as error:
                plans[n] = error
            return isinstance(plans[n], Plan)

        best = largest(fits, max // step)
    if best == 0:
        refused = plans[1]
        raise FitError(f"not even {over} = {step} fits:\n{refused}")
    plan = plans[best]
    assert isinstance(plan, Plan)
    tried = len(plans)
    if json:
        data = {
            "over": over,
            "largest": best * step,
            "budget_bytes": cap.bytes,
            "peak_bytes": plan.peak_bytes,
            "overhead": plan.overhead,
            "plans_tried": tried,
            "limited_by_max": best == max // step,
        }
        print(text.dumps(data, indent=1))
        return
    limit = ", the largest that was to be tried (--max)" if best == max // step else ""
    print(
        f"{over} = {best * step} fits {format_bytes(cap.bytes)}{limit}: peak "
        f"{format_bytes(plan.peak_bytes)}, {100 * plan.overhead:.1f} % of time to recompute "
        f"({tried} plans tried)"
    )


def largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest n from 1 to a limit that fits, if all smaller ones do; 0 if not even 1 does.

    Doubles until one does not fit, then halves the gap.

    >>> largest(lambda n: n <= 37, 1000), largest(lambda n: False, 8), largest(lambda n: True, 9)
    (37, 0, 9)
    """
    good, bad = 0, limit + 1
    n = 1
    while n < bad:
        if fits(n):
            good, n = n, n * 2
        else:
            bad = n
    if bad > limit and good < limit and n > limit:
        if fits(limit):
            return limit
        bad = limit
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good
