"""One measurement in a fresh process: `python -m experiments.bench.worker TASK NAME THREADS`.

TASK is `contest`, or `alone-` and a contestant: `alone-ours`, `alone-jax`, `alone-torch`. What
was measured is printed as one line of JSON.
"""

import ctypes
import gc
import json
import sys
from dataclasses import asdict
from typing import Any

from experiments.bench.contestants import limit_to


def contest(name: str, threads: int, repeat: int, *, compiled: bool) -> dict[str, Any]:
    """All contestants in turns; `compiled` adds PyTorch's compiler."""
    from experiments.bench.contest import contest as run
    from experiments.bench.contestants import Contestant, Jax, Ours, Torch
    from experiments.bench.suite import SUITE

    workload = SUITE[name]
    ours = Ours(workload, threads)
    found: dict[str, Contestant] = {
        "ours": ours,
        "jax": Jax(workload, threads),
        "torch": Torch(workload, threads),
    }
    if compiled:
        found["torch.compile"] = Torch(workload, threads, compiled=True)
    for one in found.values():
        one.run(1)
    scores = run(found, repeat)
    return {
        "scores": {key: asdict(score) for key, score in scores.items()},
        "tolerance": workload.tolerance,
        "predicted_seconds": ours.step.plan.seconds,
    }


def alone(contestant: str, name: str, threads: int) -> dict[str, Any]:
    """First call, steady call, and the memory of a step beyond its inputs.

    Two marks of the process say what a step takes: what was resident (VmRSS) before, and how high
    it rose (VmHWM) meanwhile. For ours the step runs in an arena that was never touched; an arena
    that lasts would not be seen.
    """
    from experiments.bench.contestants import Jax, Ours, Torch
    from experiments.bench.suite import SUITE
    from experiments.high_water import rise_during
    from experiments.measurement import Prepared

    workload = SUITE[name]
    if contestant == "ours":
        import ckpt.codegen  # what is imported lazily is no part of the first call
        import ckpt.frontends.numpy  # noqa: F401

        ours = Ours(workload, threads)
        first = ours.run(1).wall
        steady = min(ours.run(1).wall for _ in range(3))
        plan = ours.step.plan
        prepared = Prepared.of(ours.step, *ours.args)
        fresh = prepared.executable.clone()
        arrays = prepared.arrays
        del ours, prepared
        _settle()
        return {
            "first_seconds": first,
            "steady_seconds": steady,
            "bytes": plan.beyond_inputs_bytes,
            "arena_bytes": plan.arena_bytes,
            "live_bytes": plan.live_peak_bytes - plan.input_bytes - plan.output_bytes,
            "high_water_bytes": rise_during(lambda: fresh(*arrays)),
        }
    one = Jax(workload, threads, donate=False) if contestant == "jax" else Torch(workload, threads)
    first = one.run(1).wall
    steady = min(one.run(1).wall for _ in range(3))
    said = one.temporary_bytes() if isinstance(one, Jax) else None
    one.forget()
    _settle()
    high_water = rise_during(lambda: one.run(1))
    return {
        "first_seconds": first,
        "steady_seconds": steady,
        "bytes": high_water if said is None else said,
        "high_water_bytes": high_water,
    }


def _settle() -> None:
    """Give back what is free, so that only the step's own memory is seen."""
    gc.collect()
    gc.disable()
    ctypes.CDLL(None).malloc_trim(0)


def main(task: str, name: str, threads: str, repeat: str = "9", compiled: str = "0") -> None:
    """Run one task."""
    limit_to(int(threads))
    if task == "contest":
        found = contest(name, int(threads), int(repeat), compiled=compiled == "1")
    else:
        found = alone(task.removeprefix("alone-"), name, int(threads))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
