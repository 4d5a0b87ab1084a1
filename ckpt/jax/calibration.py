"""Measure the device that JAX runs on: what our prices are made of."""

import time
from collections.abc import Callable
from typing import Any

from ckpt.jax.device import Accelerator
from ckpt.jax.internals import jax

_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def calibrate(*, side: int = 2048, repeats: int = 5) -> Accelerator:
    """Time matrix products, a copy, elementwise work and an empty kernel on this device.

    Args:
        side: of the square matrices; products take about ``2 * side**3`` operations each.
        repeats: runs of each, of which the fastest counts.

    Returns:
        A device to plan with: ``checkpoint(f, device=calibrate())``. Capacity is what JAX reports,
        if it does; there is no link to the host.

    >>> calibrate(side=64, repeats=1).bytes_per_second > 0
    True
    """
    numpy = jax.numpy
    rates: dict[str, float] = {}
    for short, dtype in _DTYPES.items():
        a = numpy.ones((side, side), dtype)
        rates[short] = 2 * side**3 / _fastest(lambda x: x @ x, a, repeats)
    long = numpy.ones((4 * side * side,), "float32")
    small = numpy.ones((8,), "float32")
    device = jax.devices()[0]
    capacity = (device.memory_stats() or {}).get("bytes_limit")
    return Accelerator(
        name=str(device.device_kind),
        flops_per_second=rates,
        vector_flops_per_second=_ROUNDS * long.size / _fastest(_many, long, repeats),
        bytes_per_second=2 * long.nbytes / _fastest(lambda x: x + 1, long, repeats),
        capacity_bytes=capacity,
        launch_seconds=_fastest(lambda x: x + 1, small, repeats),
    )


_ROUNDS = 64


def _many(x: Any) -> Any:
    """Arithmetic that reads its operand once: about one operation a round and element."""
    for _ in range(_ROUNDS // 2):
        x = x * 1.0001 + 0.5
    return x


def _fastest(f: Callable[[Any], Any], x: Any, repeats: int) -> float:
    """Seconds of the fastest of some runs of a compiled function."""
    run = jax.jit(f)
    run(x).block_until_ready()
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        run(x).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return best
