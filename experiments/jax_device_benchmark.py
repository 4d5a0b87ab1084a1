"""On an accelerator: peak memory and step time of plans beside JAX's own policies.

Run with: python -m experiments.jax_device_benchmark --model medium --batch 16

For budgets from all that the device has downwards, every way is run in a process of its own whose
allocator may take no more than the budget: no remat (XLA rematerializes by itself when it does not
fit), each of JAX's policies on each block, and `ckpt.jax`. Peak bytes are the allocator's own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

from experiments.models.jax_gpt2 import (
    GPT2,
    GPT2_LARGE,
    GPT2_MEDIUM,
    GPT2_XL,
    Shape,
    arrays,
    loss_of,
    parameters,
    tokens,
)

SHAPES = {"small": GPT2, "medium": GPT2_MEDIUM, "large": GPT2_LARGE, "xl": GPT2_XL}
WAYS = (
    "no remat",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "nothing_saveable",
    "ckpt",
)
SLACK = 0.03
"""Of a budget, left to fragmentation and to what the runtime keeps for itself."""


def step_of(shape: Shape, way: str, budget: int, device: str | None) -> Any:
    """Value and gradient of the loss, in one of the ways."""
    import jax

    import ckpt.jax

    if way == "ckpt":
        cap = int((1 - SLACK) * budget)
        return jax.value_and_grad(ckpt.jax.checkpoint(loss_of(shape), budget=cap, device=device))
    if way == "no remat":
        return jax.value_and_grad(loss_of(shape))
    policy = getattr(jax.checkpoint_policies, way)
    wrapped = loss_of(shape, wrap=lambda f: jax.checkpoint(f, policy=policy))
    return jax.value_and_grad(wrapped)


def measure(shape: Shape, way: str, budget: int, repeats: int, device: str | None) -> None:
    """One way, in this process: prints what the allocator and the clock say, as JSON."""
    import jax

    args = arrays(parameters(shape)), arrays(tokens(shape), vocabulary=shape.vocabulary)
    step = jax.jit(step_of(shape, way, budget, device))
    jax.block_until_ready(step(*args))
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(step(*args))
        times.append(time.perf_counter() - began)
    memory = jax.devices()[0].memory_stats() or {}
    found = {"seconds": statistics.median(times), "peak_bytes": memory.get("peak_bytes_in_use")}
    print(json.dumps(found))


def main() -> None:
    """Run every way at every budget and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=SHAPES, default="medium")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--fractions", default="1,0.8,0.6,0.5,0.4,0.3,0.2,0.15,0.1")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", help="whose costs to plan with; by default the one there is")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    shape = replace(SHAPES[given.model], batch=given.batch, dtype=given.dtype)
    if given.layers:
        shape = replace(shape, layers=given.layers)
    if given.way:
        measure(shape, given.way, given.budget, given.repeats, given.device)
        return
    capacity = _capacity()
    print("| of the device | budget GiB | way | peak GiB | median ms |\n|---|---|---|---|---|")
    for fraction in map(float, given.fractions.split(",")):
        budget = int(fraction * capacity)
        for way in WAYS:
            found = _apart(sys.argv[1:], way, budget, fraction)
            peak = found.get("peak_bytes")
            cells = (
                f"{fraction:.0%}", f"{budget / 2**30:.1f}", way,
                "" if peak is None else f"{peak / 2**30:.2f}",
                f"{1e3 * found['seconds']:.1f}" if "seconds" in found else found["failed"],
            )  # fmt: skip
            print("| " + " | ".join(cells) + " |", flush=True)


def _capacity() -> int:
    """Bytes that the device has, asked in a process of its own."""
    code = (
        "import jax; m = jax.devices()[0].memory_stats() or {}; print(m.get('bytes_limit', 2**34))"
    )
    env = os.environ | {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.99"}
    made = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return int(made.stdout)


def _apart(given: list[str], way: str, budget: int, fraction: float) -> dict[str, Any]:
    """One way in a process of its own, with no more memory than the budget."""
    env = os.environ | {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.99 * fraction:.4f}"}
    command = [sys.executable, "-m", "experiments.jax_device_benchmark", *given]
    command += ["--way", way, "--budget", str(budget)]
    made = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode == 0:
        return json.loads(made.stdout.splitlines()[-1])
    said = made.stderr.strip().splitlines() or ["no message"]
    if any("RESOURCE_EXHAUSTED" in line for line in said):
        return {"failed": "out of memory"}
    return {"failed": "no plan" if "BudgetError" in made.stderr else said[-1][:80]}


if __name__ == "__main__":
    main()
