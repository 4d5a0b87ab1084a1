"""The workloads: a model's sizes, and the budget that our step gets."""

from dataclasses import dataclass
from typing import Any

import ckpt
from experiments.models import gaussian_process, gpt, heat, lstm, mlp, resnet, small, unet
from experiments.models.model import ModelConfig, Tree
from experiments.models.registry import MODELS


@dataclass(frozen=True, slots=True)
class Workload:
    """A gradient step that everyone has to make.

    Attributes:
        config: the model and its sizes.
        budget: of our step, as `ckpt.value_and_grad` takes it; None saves everything.
        tolerance: gradients differ by no more than this fraction (see `contest.disagreement`).
    """

    config: ModelConfig
    budget: str | ckpt.Budget | None = None
    tolerance: float = 2e-3

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.config.model)  # type: ignore[attr-defined]

    def loss(self) -> Any:
        """Our loss."""
        return MODELS[self.name].make_loss(self.config)

    def args(self) -> tuple[Tree, ...]:
        """Parameters and one batch, always the same."""
        model = MODELS[self.name]
        return model.init(self.config, 0), *model.batch(self.config, 0)


def _gpt(width: int, vocabulary: int = 256) -> gpt.Config:
    return gpt.Config(
        vocabulary=vocabulary, context=256, width=width, layers=4, heads=width // 64, batch=4
    )


_LEAN = ckpt.Budget(overhead=0.03)
"""The least memory that costs at most so much more time, as predicted."""

_RESNET = resnet.Config(size=32, widths=[64, 128, 256, 512], blocks=2, batch=32)
_UNET = unet.Config(size=64, channels=3, width=32, depth=3, batch=8)

SUITE = {
    "mlp": Workload(mlp.Config(features=784, hidden=[2048, 2048], activation="relu", batch=256)),
    "gpt256": Workload(_gpt(256)),
    "gpt256-lean": Workload(_gpt(256), budget=_LEAN),
    "gpt256-half": Workload(_gpt(256), budget="0.5x"),
    "gpt768": Workload(_gpt(768)),
    # Half cannot be had: parameters and their gradients alone take 45 % of the peak.
    "gpt768-tight": Workload(_gpt(768), budget="0.58x"),
    "gpt8k": Workload(_gpt(256, vocabulary=8192)),
    "resnet18": Workload(_RESNET, tolerance=2e-2),
    "resnet18-lean": Workload(_RESNET, budget=_LEAN, tolerance=2e-2),
    "unet": Workload(_UNET, tolerance=1e-2),
    "unet-lean": Workload(_UNET, budget=_LEAN, tolerance=1e-2),
    "lstm": Workload(lstm.Config(features=64, hidden=256, steps=256, batch=32)),
    "heat": Workload(heat.Config(size=256, steps=200, batch=1, dtype="float64"), tolerance=1e-9),
    "gp": Workload(
        gaussian_process.Config(features=8, batch=2000, dtype="float64"), tolerance=1e-6
    ),
    "small": Workload(small.Config(width=64, turns=100)),
}
"""Every workload by the name that the command takes."""
