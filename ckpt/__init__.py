"""ckpt: give a function and a byte budget, get the gradient program that fits.

>>> import ckpt, numpy as np
>>> step = ckpt.value_and_grad(lambda w, x: np.sum(np.tanh(x @ w)), budget="1MiB")
>>> value, grad = step(np.ones((3, 2)), np.ones((4, 3)))
>>> round(float(value), 3), grad.shape, step.plan.peak_bytes < 2**20
(7.96, (3, 2), True)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckpt.ad.transpose import transpose
    from ckpt.ad.unzip import unzip
    from ckpt.api.branches import cond, switch
    from ckpt.api.custom import custom_jvp, custom_vjp
    from ckpt.api.derivatives import jvp, linearize, vjp
    from ckpt.api.gradient import compile, grad, value_and_grad  # noqa: A004
    from ckpt.api.loops import fori_loop, map, scan, while_loop  # noqa: A004
    from ckpt.api.pins import recompute, save
    from ckpt.api.progress import progress
    from ckpt.api.residuals import Residuals
    from ckpt.api.stage import partial_eval
    from ckpt.api.staged import Staged
    from ckpt.api.step import Step
    from ckpt.choice import Budget, Choice, Decision, Limits, Link
    from ckpt.codegen.executable import Executable
    from ckpt.codegen.pool import set_threads, threads
    from ckpt.codegen.slow import slow_memory
    from ckpt.cost.device import Device
    from ckpt.errors import (
        ArgumentError,
        BudgetError,
        CkptError,
        CodegenError,
        IRTypeError,
        LinearityError,
        LoopError,
        ParseError,
        PlanError,
        ResidualError,
        ScheduleError,
        TraceError,
        UnsupportedOpError,
    )
    from ckpt.frontends.numpy import Spec, trace
    from ckpt.ir.program import Program
    from ckpt.plan.plan import Plan

_HOME = {
    "ArgumentError": "ckpt.errors",
    "Budget": "ckpt.choice",
    "BudgetError": "ckpt.errors",
    "Choice": "ckpt.choice",
    "CkptError": "ckpt.errors",
    "CodegenError": "ckpt.errors",
    "Decision": "ckpt.choice",
    "Device": "ckpt.cost.device",
    "Executable": "ckpt.codegen.executable",
    "IRTypeError": "ckpt.errors",
    "Limits": "ckpt.choice",
    "Link": "ckpt.choice",
    "LinearityError": "ckpt.errors",
    "LoopError": "ckpt.errors",
    "ParseError": "ckpt.errors",
    "Plan": "ckpt.plan.plan",
    "PlanError": "ckpt.errors",
    "Program": "ckpt.ir.program",
    "ResidualError": "ckpt.errors",
    "ScheduleError": "ckpt.errors",
    "Residuals": "ckpt.api.residuals",
    "Spec": "ckpt.frontends.numpy",
    "Staged": "ckpt.api.staged",
    "Step": "ckpt.api.step",
    "TraceError": "ckpt.errors",
    "UnsupportedOpError": "ckpt.errors",
    "compile": "ckpt.api.gradient",
    "cond": "ckpt.api.branches",
    "custom_jvp": "ckpt.api.custom",
    "custom_vjp": "ckpt.api.custom",
    "fori_loop": "ckpt.api.loops",
    "grad": "ckpt.api.gradient",
    "jvp": "ckpt.api.derivatives",
    "linearize": "ckpt.api.derivatives",
    "map": "ckpt.api.loops",
    "partial_eval": "ckpt.api.stage",
    "progress": "ckpt.api.progress",
    "recompute": "ckpt.api.pins",
    "save": "ckpt.api.pins",
    "scan": "ckpt.api.loops",
    "set_threads": "ckpt.codegen.pool",
    "slow_memory": "ckpt.codegen.slow",
    "switch": "ckpt.api.branches",
    "threads": "ckpt.codegen.pool",
    "trace": "ckpt.frontends.numpy",
    "transpose": "ckpt.ad.transpose",
    "unzip": "ckpt.ad.unzip",
    "value_and_grad": "ckpt.api.gradient",
    "vjp": "ckpt.api.derivatives",
    "while_loop": "ckpt.api.loops",
}
"""Where each public name lives: imported when it is first used, so that `import ckpt` is quick."""

__all__ = [
    "ArgumentError",
    "Budget",
    "BudgetError",
    "Choice",
    "CkptError",
    "CodegenError",
    "Decision",
    "Device",
    "Executable",
    "IRTypeError",
    "Limits",
    "LinearityError",
    "Link",
    "LoopError",
    "ParseError",
    "Plan",
    "PlanError",
    "Program",
    "ResidualError",
    "Residuals",
    "ScheduleError",
    "Spec",
    "Staged",
    "Step",
    "TraceError",
    "UnsupportedOpError",
    "compile",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "fori_loop",
    "grad",
    "jvp",
    "linearize",
    "map",
    "partial_eval",
    "progress",
    "recompute",
    "save",
    "scan",
    "set_threads",
    "slow_memory",
    "switch",
    "threads",
    "trace",
    "transpose",
    "unzip",
    "value_and_grad",
    "vjp",
    "while_loop",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ckpt' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
