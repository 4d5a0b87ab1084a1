"""What `--torch` does: a training step of a model that is known by name."""

import warnings
from pathlib import Path

from ckpt.choice import Budget
from ckpt.cli.model import ModelError
from ckpt.cli.news import news
from ckpt.cli.planning import Planning, options, refuse_with
from ckpt.errors import CkptError
from ckpt.files import ready_for, write_text

PREFIX = "hf:"


class MissingExtraError(CkptError, ImportError):
    """An optional package is not installed."""


def plan_torch(
    model: str,
    budget: Budget,
    planning: Planning | None,
    *,
    batch: int | None,
    seq: int | None,
    out: Path | None,
    json: bool,
) -> None:
    """Plan a step of a Hugging Face model without its weights, without memory for it; print it.

    Raises:
        ModelError: it is not named as `hf:NAME`.
        OptionError: an option that says nothing here.
        MissingExtraError: torch is missing.
        HubError: there is no such model, no room for so many tokens, or a package is missing.
        BudgetError: no plan fits.
    """
    if not model.startswith(PREFIX):
        raise ModelError(f"{model!r}: --torch plans models by name, as in hf:gpt2-xl")
    told = planning or Planning()
    policy = None if told.policy == "auto" else told.policy
    refuse_with("--torch", policy=policy, no_fusion=not told.fusion, no_patterns=not told.patterns)
    ready_for(out)
    try:
        from ckpt.torch.forecast import fake, plan
        from ckpt.torch.hub import example
    except ImportError as error:
        raise MissingExtraError(str(error)) from error
    with news(f"tracing {model}") as said, warnings.catch_warnings():
        # The code of these models is known: Dynamo may look through its caches.
        warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
        asked = options(told, budget, said.step)
        with fake():
            step = example(model.removeprefix(PREFIX), batch=1 if batch is None else batch, seq=seq)
        made = plan(*step, budget=budget, device=asked.device, limits=asked.limits)
    if out:
        write_text(out, made.to_json())
    print(made.to_json() if json else made)
