"""`ckpt plan`: what is kept, what runs again, and where everything stands."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ckpt.cli.planning import Planning, budget_of, options


def plan(
    model: str,
    /,
    *,
    budget: str | None = None,
    reserve: str | None = None,
    overhead: float | None = None,
    planning: Planning | None = None,
    out: Path | None = None,
    diff: Path | None = None,
    no_grad: bool = False,
    json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Plan a gradient step within a budget, and print the plan as a table.

    A function that returns one float scalar is planned with its gradient; any other as it is.

    Args:
        model: a YAML model configuration, a file.ir, or file.py:function.
        budget: bytes for everything alive during a step, such as 64MiB, or 0.4x of the peak when
            everything is saved. Without it everything is saved.
        reserve: bytes of the budget to keep for memory elsewhere.
        overhead: in place of a budget: the least memory at no more than this fraction more
            seconds, such as 0.1.
        planning: policy, device and effort.
        out: where to write the plan as JSON.
        diff: an older plan's JSON file: tell what changed, and why memory grew.
        no_grad: plan the function itself, without its gradient.
        json: print the plan as JSON instead of a table.
    """
    from ckpt.cli.model import load
    from ckpt.cli.news import news
    from ckpt.files import ready_for, write_text
    from ckpt.plan.plan import Plan

    ready_for(out)
    older = Plan.load(diff) if diff else None
    with news(f"tracing {model}") as said:
        told = options(planning, budget_of(budget, reserve, overhead), said.step)
        subject = load(model, gradient=not no_grad)
        said.task("planning")
        made = subject.planned(told).plan
    if out:
        write_text(out, made.to_json())
    print(made.to_json() if json else made)
    if older is not None:
        print("", made.diff(older), sep="\n")
