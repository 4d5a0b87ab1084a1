"""`ckpt plan`: what is kept, what runs again, and where everything stands."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ckpt.cli.planning import Planning, budget_of, options, recognises, refuse_with
from ckpt.errors import CkptError


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
    torch: bool = False,
    batch: int | None = None,
    seq: int | None = None,
    jax: bool = False,
    json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Plan a gradient step within a budget, and print the plan as a table.

    A function that returns one float scalar is planned with its gradient; any other as it is.

    Args:
        model: a YAML model configuration, a file.ir, or file.py:function; with --torch the name
            of a model of Hugging Face, as in hf:gpt2-xl, planned without weights.
        budget: bytes for everything alive during a step, such as 64MiB, or 0.4x of the peak when
            everything is saved. Without it everything is saved.
        reserve: bytes of the budget to keep for memory elsewhere.
        overhead: in place of a budget: the least memory at no more than this fraction more
            seconds, such as 0.1.
        planning: policy, device and effort.
        out: where to write the plan as JSON.
        diff: an older plan's JSON file: tell what changed, and why memory grew.
        no_grad: plan the function itself, without its gradient.
        torch: plan a PyTorch training step in bf16, as ckpt.torch.compile would (extra hf).
        batch: examples in a step, for hf: models; by default one.
        seq: tokens of an example, for hf: models; by default as many as they can place.
        jax: the function is of JAX; its module's example_inputs() returns arrays or
            jax.ShapeDtypeStructs, and --device may be h100, h200, a100, l4 or tpu_v5e.
        json: print the plan as JSON instead of a table.
    """
    if jax:
        from ckpt.cli.jax import plan_jax

        refuse_with("--jax", diff=diff, no_grad=no_grad, torch=torch, batch=batch, seq=seq)
        plan_jax(model, budget_of(budget, reserve, overhead), planning, out=out, json=json)
        return
    if torch:
        from ckpt.cli.torch import plan_torch

        refuse_with("--torch", diff=diff, no_grad=no_grad)
        whole = budget_of(budget, reserve, overhead)
        plan_torch(model, whole, planning, batch=batch, seq=seq, out=out, json=json)
        return
    if batch is not None or seq is not None or model.startswith("hf:"):
        raise CkptError(
            "--batch, --seq and models of Hugging Face, such as hf:gpt2-xl, go with --torch"
        )
    from ckpt.cli.model import load
    from ckpt.cli.news import news
    from ckpt.files import ready_for, write_text
    from ckpt.plan.plan import Plan

    ready_for(out)
    older = Plan.load(diff) if diff else None
    with news(f"tracing {model}") as said:
        told = options(planning, budget_of(budget, reserve, overhead), said.step)
        subject = load(model, gradient=not no_grad, patterns=recognises(planning))
        said.task("planning")
        made = subject.planned(told).plan
    if out:
        write_text(out, made.to_json())
    print(made.to_json() if json else made)
    if older is not None:
        print("", made.diff(older), sep="\n")
