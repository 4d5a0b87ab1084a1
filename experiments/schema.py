"""What the YAML file of a job may say.

Every key is checked: an unknown key, a wrong unit or a missing file is an error that names the
file, the line and the key.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union

from pydantic import BeforeValidator, Field, PositiveInt, TypeAdapter, model_validator

import policies
from experiments.models.registry import MODELS
from experiments.optimizers import Adam, Optimizer
from experiments.source import load
from experiments.validation import Strict, validated
from policies.units import parse_bytes

AnyModel = Annotated[
    Union[tuple(model.config for model in MODELS.values())],  # noqa: UP007  # as many as there are
    Field(discriminator="model"),
]
"""The configuration of one model; its key `model` says of which."""

Bytes = Annotated[int, BeforeValidator(parse_bytes)]
"""A number of bytes, or text with a unit such as 64MiB."""


class BudgetConfig(Strict):
    """A cap on everything alive during a step: exactly one of the first three.

    Attributes:
        bytes: the cap itself, such as 64MiB.
        fraction: of the save-all peak.
        overhead: the least memory at no more than this fraction more time.
        reserve: bytes to keep for memory elsewhere.
    """

    bytes: Bytes | None = None
    fraction: float | None = Field(default=None, gt=0)
    overhead: float | None = Field(default=None, ge=0)
    reserve: Bytes = 0

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [x for x in (self.bytes, self.fraction, self.overhead) if x is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of bytes, fraction and overhead")
        return self

    def budget(self, save_all_peak_bytes: int) -> policies.Budget:
        """As the compiler takes it; a fraction becomes bytes, rounded down.

        Args:
            save_all_peak_bytes: of the plan that saves everything, without the reserve.
        """
        if self.fraction is None:
            return policies.Budget(**self.model_dump())
        cap = math.floor(self.fraction * (save_all_peak_bytes + self.reserve))
        return policies.Budget(bytes=cap, reserve=self.reserve)


def expanded(given: Any) -> Any:
    """`64MiB` and `0.4x` are short for mappings."""
    if isinstance(given, str) and given.strip().lower().endswith("x"):
        return {"fraction": given.strip()[:-1]}
    return {"bytes": given} if isinstance(given, str | int) else given


class Training(Strict):
    """How to train.

    Attributes:
        steps: number of optimizer steps.
        optimizer: and its settings; it runs inside the step's program and budget.
        accuracy: the job fails when the test accuracy is below this fraction.
        loss: the job fails when the mean loss of the last tenth of the steps is above this.
    """

    steps: PositiveInt
    optimizer: Optimizer = Adam()
    accuracy: float | None = Field(default=None, ge=0, le=1)
    loss: float | None = Field(default=None, gt=0)


Data = Literal["digits", "random", "text", "shapes", "heat"]
"""What is trained on; `experiments.supply` has them."""


class Job(Strict):
    """One job for `ckpt run`.

    Attributes:
        name: of the run folder, unless one is given.
        question: what the job asks.
        model: its configuration, mostly by `ref:`.
        data: where batches come from; see `experiments.supply`.
        training: steps and optimizer.
        budget: what a training step may use.
        policy: who decides what to save and what to recompute.
        work: how much work that may take, in the units of `ckpt.Limits`; None for the usual.
        seed: of first parameters and of the order of examples.
        repeat: how often budgeted and save-all steps are timed, in turns.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = Field(min_length=1)
    model: AnyModel
    data: Data
    training: Training
    budget: Annotated[BudgetConfig, BeforeValidator(expanded)]
    policy: str = "auto"
    work: PositiveInt | None = None
    seed: int = Field(default=0, ge=0)
    repeat: PositiveInt = 7


def load_job(path: str | Path) -> Job:
    """Read the configuration of a job.

    Raises:
        ConfigError: names the file, line and key of everything that is wrong.
    """
    return validated(load(path), TypeAdapter(Job))


def load_model(path: str | Path, changes: Mapping[str, Any] | None = None) -> Any:
    """Read the configuration of a model, from its own file or from that of a job.

    Args:
        path: of the YAML file.
        changes: other values for keys of the configuration.

    Raises:
        ConfigError: names the file, line and key of everything that is wrong.
    """
    document = load(path)
    if isinstance(document.value, dict) and isinstance(document.value.get("model"), dict):
        document = document.at("model")
    if changes and isinstance(document.value, dict):
        document = document.with_values(changes)
    return validated(document, TypeAdapter(AnyModel))
