"""`ckpt fit`: the largest batch, length or depth that a budget holds."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ckpt.cli.planning import Planning, budget_of, options, recognises, refuse_with
from ckpt.errors import BudgetError, CkptError
from ckpt.inspect.largest import largest

if TYPE_CHECKING:
    from ckpt.api.step import Options
    from ckpt.plan.plan import Plan

QUICK = "greedy"
"""The policy that looks for the neighbourhood of the answer."""

GROWTH, CLOSE = 1.25, 0.01
"""How the policy that was asked for goes on from there: by quarters, to within one in a hundred."""


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
    jax: bool = False,
    json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Find the largest batch, length or depth that a budget holds, by planning alone.

    A quick policy finds the neighbourhood, then --policy tries what is larger, until what fits
    and what was found not to fit are within one in a hundred.

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
        jax: the function is of JAX; `over` is a keyword of its module's example_inputs.
        json: print the result as JSON.
    """
    import json as text

    from ckpt.choice import format_bytes
    from ckpt.cli.model import load
    from ckpt.cli.news import news

    cap = budget_of(budget, reserve, None)
    if cap.bytes is None:
        raise FitError("give the budget in bytes, such as 2GiB: a fraction grows with the model")
    if step < 1 or max < step:
        raise FitError("--step must be at least 1, and --max at least --step")
    if jax:
        from ckpt.cli.jax import fit_jax

        refuse_with("--jax", no_grad=no_grad)
        fit_jax(model, cap, planning, over=over, limit=max, step=step, json=json)
        return
    plans: dict[int, Plan] = {}
    limit, tried, refusal, refused = max // step, 0, "", None
    with news(f"tracing {model}") as said:
        told = options(planning, cap, said.step)
        quick = replace(told, policy=QUICK if told.policy == "auto" else told.policy)

        def plan_of(n: int, how: "Options") -> bool:
            nonlocal tried, refusal, refused
            said.task(f"{over} = {n * step}")
            tried += 1
            subject = load(
                model, gradient=not no_grad, patterns=recognises(planning), changes={over: n * step}
            )
            try:
                plans[n] = subject.planned(how).plan
            except BudgetError as error:
                refusal, refused = str(error), n * step
                return False
            return True

        best = largest(lambda n: plan_of(n, quick), limit)
        if quick != told:
            start, refused = best, None
            best = largest(
                lambda n: plan_of(n, told), limit, known=start, growth=GROWTH, close=CLOSE
            )
            if best == start > 0:
                plan_of(best, told)  # the same bytes in less time, perhaps
    if best == 0:
        raise FitError(f"not even {over} = {step} fits:\n{refusal}")
    plan = plans[best]
    if json:
        data = {
            "over": over,
            "largest": best * step,
            "budget_bytes": cap.bytes,
            "peak_bytes": plan.peak_bytes,
            "overhead": plan.overhead,
            "smallest_refused": refused,
            "plans_tried": tried,
        }
        print(text.dumps(data, indent=1))
        return
    if refused is None:
        beyond = f"{limit * step} is the largest that was to be tried (--max)"
    else:
        beyond = f"no plan was found for {refused}"
    print(
        f"{over} = {best * step} fits {format_bytes(cap.bytes)}: peak "
        f"{format_bytes(plan.peak_bytes)}, {100 * plan.overhead:.1f} % of time to recompute\n"
        f"{beyond}; {tried} plans tried"
    )
