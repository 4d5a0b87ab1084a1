"""Plans under a byte budget for any JAX function.

``checkpoint`` gives a function like the one given, whose gradient fits a budget; everything else
answers questions about it before anything runs.

>>> import jax, jax.numpy as jnp
>>> import ckpt.jax
>>> def loss(w, x):
...     for _ in range(4):
...         x = jnp.tanh(x @ w)
...     return (x * x).mean()
>>> loss = ckpt.jax.checkpoint(loss, budget="0.8x", device="h100")
>>> w, x = jnp.eye(64), jnp.ones((512, 64))
>>> jax.jit(jax.grad(loss))(w, x).shape
(64, 64)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckpt.jax.calibration import calibrate
    from ckpt.jax.checking import checked
    from ckpt.jax.checkpointed import checkpoint
    from ckpt.jax.curve import frontier
    from ckpt.jax.device import Accelerator
    from ckpt.jax.exporting import as_policy
    from ckpt.jax.fitting import fit
    from ckpt.jax.questions import explain, plan

_HOME = {
    "Accelerator": "ckpt.jax.device",
    "as_policy": "ckpt.jax.exporting",
    "calibrate": "ckpt.jax.calibration",
    "checked": "ckpt.jax.checking",
    "checkpoint": "ckpt.jax.checkpointed",
    "explain": "ckpt.jax.questions",
    "fit": "ckpt.jax.fitting",
    "frontier": "ckpt.jax.curve",
    "plan": "ckpt.jax.questions",
}
"""Where each public name lives: imported when it is first used."""

__all__ = [
    "Accelerator",
    "as_policy",
    "calibrate",
    "checked",
    "checkpoint",
    "explain",
    "fit",
    "frontier",
    "plan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ckpt.jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
