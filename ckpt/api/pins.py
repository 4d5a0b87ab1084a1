"""Pins: what the user decides about a value, instead of the policy."""

from typing import Any

from ckpt.frontends.lets import emit
from ckpt.frontends.tracer import Tracer
from ckpt.ops.structural import Mark


def save(x: Any, name: str = "") -> Any:
    """Pin a value: it is computed once and never recomputed.

    Args:
        x: an array of any type, traced or not.
        name: what reports call it.

    Returns:
        The same value.

    >>> import numpy as np
    >>> save(np.ones(2), name="hidden")
    array([1., 1.])
    """
    return emit(Mark("save", name), x) if isinstance(x, Tracer) else x


def recompute(x: Any, name: str = "") -> Any:
    """Pin a value: it is never kept for the backward half, which recomputes it.

    Args:
        x: an array of any type, traced or not.
        name: what reports call it.

    Returns:
        The same value.

    >>> import numpy as np
    >>> recompute(np.ones(2))
    array([1., 1.])
    """
    return emit(Mark("recompute", name), x) if isinstance(x, Tracer) else x
