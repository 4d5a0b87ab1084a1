"""Every model by the name that configurations use."""

from typing import Any

from experiments.models import burgers, gpt, heat, lstm, mlp, resnet, unet, vit
from experiments.models.model import Model

MODELS: dict[str, Model[Any]] = {
    "burgers": burgers.MODEL,
    "gpt": gpt.MODEL,
    "heat": heat.MODEL,
    "lstm": lstm.MODEL,
    "mlp": mlp.MODEL,
    "resnet": resnet.MODEL,
    "unet": unet.MODEL,
    "vit": vit.MODEL,
}
