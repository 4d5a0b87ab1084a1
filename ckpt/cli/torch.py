"""`ckpt plan hf:NAME --torch`: a training step of a model that is known by name."""

from typing import TYPE_CHECKING

from ckpt.cli.model import ModelError
from ckpt.cli.news import news
from ckpt.cli.planning import Planning, options
from ckpt.errors import CkptError

if TYPE_CHECKING:
    from ckpt.choice import Budget
    from ckpt.torch.plan import Plan

PREFIX = "hf:"


class MissingExtraError(CkptError, ImportError):
    """An optional package is not installed."""


def plan_by_name(
    model: str, budget: "Budget", planning: Planning | None, batch: int, seq: int | None
) -> "Plan":
    """Plan a step of a Hugging Face model without its weights, and without memory for it.

    Raises:
        ModelError: it is not named as `hf:NAME`.
        MissingExtraError: torch is missing.
        HubError: there is no preset of that name, or transformers is missing.
        BudgetError: no plan fits.
    """
    if not model.startswith(PREFIX):
        raise ModelError(f"{model!r}: --torch plans models by name, as in hf:gpt2-xl")
    try:
        from ckpt.torch.forecast import fake, plan
        from ckpt.torch.hub import example
    except ImportError as error:
        raise MissingExtraError(str(error)) from error
    with news(f"tracing {model}") as said:
        told = options(planning, budget, said.step)
        with fake():
            built, arguments = example(model.removeprefix(PREFIX), batch=batch, seq=seq)
        return plan(built, arguments, budget=budget, device=told.device, limits=told.limits)
