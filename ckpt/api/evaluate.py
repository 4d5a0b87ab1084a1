"""Running a program at once: compiled for arrays, emitted for tracers."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ckpt.api.nested import with_nested
from ckpt.choice import running_lets
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.frontends.numpy import emit_program, has_tracer
from ckpt.ir.inline import inline_calls
from ckpt.ir.program import Program
from ckpt.plan.place import place
from ckpt.simplify.outputs import own_outputs

_EXECUTABLES: weakref.WeakKeyDictionary[Program, Executable] = weakref.WeakKeyDictionary()


def evaluate(program: Program, values: Sequence[Any]) -> Sequence[Any]:
    """The results of a plain program on arrays, or, inside a trace, on tracers.

    Arrays go through the same kernels as a planned step, each let once and in order, so that
    halves run apart give the bits of the whole. The compiled program lives as long as `program`.
    """
    if any(map(has_tracer, values)):
        return emit_program(program, values)
    executable = _EXECUTABLES.get(program)
    if executable is None:
        ready = with_nested(own_outputs(inline_calls(program, custom=True)))
        plan = place(ready, running_lets(ready), costs=CostModel(Device.this()))
        executable = _EXECUTABLES[program] = Executable(ready, plan)
    return executable(*values)


def fresh(result: Any) -> Any:
    """A result that was computed once, for one more caller, who may keep and change it."""
    return result.copy() if isinstance(result, np.ndarray) else result
