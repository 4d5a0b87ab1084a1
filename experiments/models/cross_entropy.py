"""Softmax cross-entropy from logits: the loss of every classifier here."""

from typing import Any

import numpy as np

import ckpt.numpy as cnp


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean of -log softmax(logits)[label] over all positions.

    Args:
        logits: f[..., classes].
        labels: i32[...], below `classes`.

    Returns:
        f[], in nats.
    """
    log_probability = cnp.log_softmax(logits, axis=-1)
    return -np.mean(np.take_along_axis(log_probability, labels[..., None], axis=-1))
