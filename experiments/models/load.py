"""A model from a YAML file, for commands that plan and look: the entry point of `ckpt.models`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.models.registry import MODELS
from experiments.schema import load_model


def load(
    path: str | Path, changes: Mapping[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The loss of a model and the specs of its arguments; no array is allocated.

    Args:
        path: of a model's configuration, or of a job's, whose model is taken.
        changes: other values for keys of the model's configuration.

    Raises:
        ConfigError: names the file, line and key of everything that is wrong.
    """
    config = load_model(path, changes)
    model = MODELS[config.model]
    return model.make_loss(config), model.specs(config)
