"""`ckpt frontier`: what less memory costs in time."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ckpt.cli.planning import Planning, budget_of, options, recognises, refuse_with
from ckpt.errors import CkptError


class FrontierError(CkptError, ValueError):
    """Options that do not go together."""


def frontier(
    model: str,
    /,
    *,
    budgets: str | None = None,
    points: int = 8,
    policies: str | None = None,
    reserve: str | None = None,
    planning: Planning | None = None,
    out: Path | None = None,
    no_grad: bool = False,
    jax: bool = False,
    json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Plan for a range of budgets: peak bytes against seconds, with certified bounds.

    The curve is that of --policy; other policies stand beside it. For a dataflow graph there is a
    command of the same name with options of its own: `ckpt frontier GRAPH.json --help`.

    Args:
        model: a YAML model configuration, a file.ir, or file.py:function.
        budgets: separated by commas, such as 0.8x,0.6x,64MiB; by default --points of them, from
            the smallest feasible one to the save-all peak.
        points: how many budgets there are by default.
        policies: others to compare with, separated by commas; by default save_all,
            recompute_all, sqrt and greedy.
        reserve: bytes of each budget to keep for memory elsewhere.
        planning: policy, device and effort.
        out: a picture to draw, such as frontier.png.
        no_grad: plan the function itself, without its gradient.
        jax: the function is of JAX; JAX's own checkpoint policies stand beside the curve.
        json: print the points as JSON instead of a table.
    """
    if jax:
        from ckpt.cli.jax import frontier_jax

        refuse_with("--jax", policies=policies, no_grad=no_grad)
        wanted = [budget_of(b, reserve, None) for b in listed(budgets)]
        frontier_jax(model, wanted, planning, points=points, out=out, json=json)
        return
    import json as text

    from ckpt.cli.model import load
    from ckpt.cli.news import news
    from ckpt.files import ready_for, write_with
    from ckpt.inspect import figure
    from ckpt.inspect.frontier import NAMED, draw, frontier_of, to_json, to_table

    ready_for(out)
    if out:
        figure.can_draw(out)
    with news(f"tracing {model}") as said:
        told = options(planning, budget_of(None, reserve, None), said.step)
        asked = [budget_of(b, reserve, None) for b in listed(budgets)]
        others = NAMED if policies is None else listed(policies)
        subject = load(model, gradient=not no_grad, patterns=recognises(planning))
        found = frontier_of(subject, told, asked, policies=others, n_points=points, task=said.task)
    if out:
        drawn = draw(found, told.policy)
        write_with(out, lambda path: figure.save(drawn, path))
    print(text.dumps(to_json(found), indent=1) if json else to_table(found))


def listed(text: str | None) -> list[str]:
    """The items of a list that is separated by commas.

    >>> listed("0.8x, 64MiB")
    ['0.8x', '64MiB']
    """
    return [item.strip() for item in (text or "").split(",") if item.strip()]
