"""Byte budgets for PyTorch, on the true peak: `compile`, `checkpoint`, `plan`, `frontier`.

Needs the extra `torch`. Nothing here becomes a `Program`: joint graphs of AOTAutograd, or what
eager PyTorch was seen to run, become problems of the planner and go back as plans.
"""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ImportError(
        "ckpt.torch needs PyTorch, which is not installed; install the extra: pip install "
        "'ckpt-compiler[torch]'"
    )

from ckpt.torch.compiling import Planned as Planned
from ckpt.torch.compiling import compile as compile  # noqa: A004
from ckpt.torch.curve import Frontier as Frontier
from ckpt.torch.curve import frontier as frontier
from ckpt.torch.eager import Checkpointed as Checkpointed
from ckpt.torch.eager import checkpoint as checkpoint
from ckpt.torch.forecast import fake as fake
from ckpt.torch.forecast import plan as plan
from ckpt.torch.plan import Plan as Plan
from ckpt.torch.private import TorchVersionError as TorchVersionError

__all__ = [
    "Checkpointed",
    "Frontier",
    "Plan",
    "Planned",
    "TorchVersionError",
    "checkpoint",
    "compile",
    "fake",
    "frontier",
    "plan",
]
