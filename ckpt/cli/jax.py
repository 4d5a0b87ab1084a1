"""What `--jax` does: the commands that plan, for functions of JAX."""

import json as text
from pathlib import Path
from typing import TYPE_CHECKING

from ckpt.choice import Budget, Limits, format_bytes
from ckpt.cli.model import function_of
from ckpt.cli.news import news
from ckpt.cli.planning import Planning
from ckpt.files import ready_for, write_text

if TYPE_CHECKING:
    from ckpt.jax.plans import Plan


def plan_jax(
    model: str, budget: Budget, planning: Planning | None, *, out: Path | None, json: bool
) -> None:
    """Plan the gradient of a function of JAX, and print its table."""
    from ckpt.jax import plan

    ready_for(out)
    told = planning or Planning()
    with news(f"tracing {model}") as said:
        f, args = function_of(model)
        said.task("planning")
        made = plan(
            f,
            *args,
            budget=budget,
            device=_device(told),
            policy=told.policy,
            limits=_limits(told),
        )
    data = text.dumps(_plain(made), indent=1)
    if out:
        write_text(out, data + "\n")
    print(data if json else made)


def frontier_jax(
    model: str,
    budgets: list[Budget],
    planning: Planning | None,
    *,
    points: int,
    out: Path | None,
    json: bool,
) -> None:
    """The curve of a function of JAX, with JAX's own policies marked on it."""
    from ckpt.inspect import figure
    from ckpt.jax import frontier

    ready_for(out)
    if out:
        figure.can_draw(out)
    told = planning or Planning()
    with news(f"tracing {model}") as said:
        f, args = function_of(model)
        found = frontier(
            f, *args, budgets=budgets, points=points, device=_device(told), limits=_limits(told),
            said=said.task,
        )  # fmt: skip
    if out:
        found.save(out)
    print(text.dumps(found.to_json(), indent=1) if json else found)


def fit_jax(
    model: str,
    budget: Budget,
    planning: Planning | None,
    *,
    over: str,
    limit: int,
    step: int,
    json: bool,
) -> None:
    """The largest value of a keyword of `example_inputs` for which a function of JAX fits."""
    from ckpt.jax import fit

    told = planning or Planning()
    with news(f"tracing {model}") as said:
        f, _ = function_of(model)

        def inputs(**changes: int) -> tuple[object, ...]:
            said.task(", ".join(f"{k} = {v}" for k, v in changes.items()))
            return function_of(model, changes)[1]

        found = fit(
            f, inputs, budget=budget, over=over, limit=limit, step=step, device=_device(told),
            limits=_limits(told),
        )  # fmt: skip
    if json:
        data = {
            "over": over,
            "largest": found.largest,
            "smallest_refused": found.refused,
            "plans_tried": found.tried,
            **_plain(found.plan),
        }
        print(text.dumps(data, indent=1))
        return
    beyond = (
        f"{limit} is the largest that was to be tried (--max)"
        if found.refused is None
        else f"no plan was found for {found.refused}"
    )
    print(
        f"{over} = {found.largest} fits {format_bytes(found.plan.decision.budget_bytes)}: peak "
        f"{format_bytes(found.plan.peak_bytes)}, {100 * found.plan.overhead:.1f} % of time to "
        f"recompute\n{beyond}; {found.tried} plans tried"
    )


def _device(told: Planning) -> str:
    return told.device or "cpu"


def _limits(told: Planning) -> Limits | None:
    if told.work is None and told.time_limit is None:
        return None
    work = Limits().work if told.work is None else told.work
    return Limits(time_seconds=told.time_limit, work=work)


def _plain(plan: "Plan") -> dict[str, object]:
    """A plan in figures."""
    return {
        "peak_bytes": plan.peak_bytes,
        "budget_bytes": plan.decision.budget_bytes,
        "argument_bytes": plan.argument_bytes,
        "residual_bytes": plan.residual_bytes,
        "seconds": plan.seconds,
        "baseline_seconds": plan.baseline_seconds,
        "bound_seconds": plan.bound_seconds,
        "recomputed_matmul_flops": plan.recomputed_matmul_flops,
        "forward_matmul_flops": plan.forward_matmul_flops,
        "saved": [
            {"value": plan.label(v), "line": plan.line(v), "bytes": plan.kernels.joint.sizes[v]}
            for v in plan.script.saved
        ],
    }
