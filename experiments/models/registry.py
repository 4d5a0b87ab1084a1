"""Every model by the name that configurations use."""

from typing import Any

from experiments.models import (
    burgers,
    gaussian_process,
    gpt,
    heat,
    lstm,
    mlp,
    resnet,
    small,
    unet,
    vit,
)
from experiments.models.model import Model

MODELS: dict[str, Model[Any]] = {
    "burgers": burgers.MODEL,
    "gaussian_process": gaussian_process.MODEL,
    "gpt": gpt.MODEL,
    "heat": heat.MODEL,
    "lstm": lstm.MODEL,
    "mlp": mlp.MODEL,
    "resnet": resnet.MODEL,
    "small": small.MODEL,
    "unet": unet.MODEL,
    "vit": vit.MODEL,
}
