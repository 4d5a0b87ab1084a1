"""Every model by the name that configurations use."""

from typing import Any

from experiments.models import (
    bottleneck,
    burgers,
    fcn8,
    gaussian_process,
    gpt,
    heat,
    lstm,
    mlp,
    mobilenet,
    resnet,
    segnet,
    small,
    unet,
    vgg,
    vit,
)
from experiments.models.model import Model

MODELS: dict[str, Model[Any]] = {
    "bottleneck": bottleneck.MODEL,
    "burgers": burgers.MODEL,
    "fcn8": fcn8.MODEL,
    "gaussian_process": gaussian_process.MODEL,
    "gpt": gpt.MODEL,
    "heat": heat.MODEL,
    "lstm": lstm.MODEL,
    "mlp": mlp.MODEL,
    "mobilenet": mobilenet.MODEL,
    "resnet": resnet.MODEL,
    "segnet": segnet.MODEL,
    "small": small.MODEL,
    "unet": unet.MODEL,
    "vgg": vgg.MODEL,
    "vit": vit.MODEL,
}
