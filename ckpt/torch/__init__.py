"""Byte budgets for PyTorch, on the true peak: `compile`, `checkpoint`, `plan`, `frontier`.

Needs the extra `torch`. Nothing here becomes a `Program`: joint graphs of AOTAutograd, or what
eager PyTorch was seen to run, become problems of the planner and go back as plans.
"""

from ckpt.torch.compiling import Planned as Planned
from ckpt.torch.compiling import compile as compile  # noqa: A004
from ckpt.torch.curve import Frontier as Frontier
from ckpt.torch.curve import frontier as frontier
from ckpt.torch.forecast import fake as fake
from ckpt.torch.forecast import plan as plan
from ckpt.torch.plan import Plan as Plan
from ckpt.torch.private import TorchVersionError as TorchVersionError

__all__ = [
    "Frontier",
    "Plan",
    "Planned",
    "TorchVersionError",
    "compile",
    "fake",
    "frontier",
    "plan",
]
