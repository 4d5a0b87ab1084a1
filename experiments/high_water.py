"""What the operating system says that one step needs: run in a fresh process, Linux only.

    python -m experiments.high_water CONFIG.yaml PLAN.json

The plan is for the gradient of the model's loss. Everything that is not the step's memory is
made resident first: kernels compiled, libraries warmed by two steps in another arena, which is
then given back. What the process's high-water mark (VmHWM) rises by during one more step, above
what was resident (VmRSS) before it, is then the outputs and the arena.
"""

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optree

import ckpt
from ckpt import Executable
from experiments.models.registry import MODELS
from experiments.schema import load_model

_STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
"""What resets the mark; only Linux has it."""


def resident_bytes(field: str) -> int:
    """A field of the process's status: VmRSS is resident now, VmHWM was so at most."""
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise OSError(f"{_STATUS} has no field {field}")


def rise_during(run: Callable[[], object]) -> int:
    """Bytes by which the process's high-water mark rises above what was resident before."""
    CLEAR.write_text("5", encoding="utf-8")  # the mark falls to what is resident now
    before = resident_bytes("VmRSS")
    results = run()
    rise = resident_bytes("VmHWM") - before
    del results
    return rise


def high_water(config_file: str, plan_file: str) -> dict[str, int]:
    """Bytes that one gradient step of a model takes beyond its inputs.

    Returns:
        `planned_bytes`, what the plan says; `measured_bytes`, by how much the mark rose.
    """
    config = load_model(config_file)
    model = MODELS[config.model]
    args = (model.init(config, 0), *model.batch(config, 0))
    step = ckpt.value_and_grad(model.make_loss(config), policy="save_all")  # for its program alone
    compiled = step.compiled_for(*args)
    arrays = [*map(np.asarray, [*optree.tree_leaves(args), *compiled.traced.constants])]
    warm = Executable.from_plan_file(compiled.joint.program, plan_file)
    for _ in range(2):
        warm(*arrays)
    fresh: Any = warm.clone()  # its arena is not resident until a step touches it
    planned = warm.plan.beyond_inputs_bytes
    del warm
    gc.collect()
    gc.disable()
    ctypes.CDLL(None).malloc_trim(0)
    return {"planned_bytes": planned, "measured_bytes": rise_during(lambda: fresh(*arrays))}


if __name__ == "__main__":
    print(json.dumps(high_water(*sys.argv[1:])))
