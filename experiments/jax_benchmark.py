"""How good the plans of `ckpt.jax` are beside JAX's own policies, and how exactly they come true.

Run with: python -m experiments.jax_benchmark --tables 1,2,3,4

1  GPT-2 124M, unrolled: matrix products run again at the residual bytes of each policy, and step
   time at its peak
2  the same in one scan: XLA's temporary bytes against the estimate, and matrix products run again
   at the peak of each policy
3  seconds to plan, beyond tracing
4  gradients under a hundred plans against those of the plain function
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from os import environ
from typing import Any

import jax
import numpy as np
from jax._src.ad_checkpoint import saved_residuals  # the public one only prints

import ckpt.jax
from ckpt import Budget
from ckpt.errors import BudgetError
from ckpt.jax.builtin import POLICIES, Mark, priced
from ckpt.jax.deciding import planned
from ckpt.jax.loops import loops_of
from ckpt.jax.plans import Plan
from experiments.models import jax_lstm, jax_resnet, jax_unet
from experiments.models.jax_gpt2 import GPT2, GPT3, Shape, arrays, loss_of, parameters, tokens

MIB, GIB = 2**20, 2**30

_Case = tuple[Callable[..., Any], tuple[Any, ...]]

PRODUCTS = ckpt.jax.Accelerator(
    name="products only",
    flops_per_second={"f32": 1e12},
    vector_flops_per_second=1e30,
    bytes_per_second=1e30,
)
"""A device on which only matrix products take time."""


def wrapped(policy: str) -> Callable[..., Any]:
    """`jax.checkpoint` with a policy of that name."""
    return lambda f: jax.checkpoint(f, policy=getattr(jax.checkpoint_policies, policy))


def mark_of(loss: Callable[..., Any], args: tuple[Any, ...], name: str, device: Any) -> Mark:
    """A function with its own `jax.checkpoint`s, priced as it stands."""
    f = ckpt.jax.checkpoint(loss, device=device)
    traced, _ = f.trace(args, {})
    return priced(name, traced.jaxpr, f.plan_of(args, {}).kernels.joint.wanted, f.request.device)


def row(*cells: object) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*names: str) -> None:
    """The first two lines of one."""
    row(*names)
    row(*("---" for _ in names))


def residual_bytes(loss: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """What JAX itself says that it saves, arguments not counted."""
    batch = jax.numpy.zeros(args[1].shape, args[1].dtype)  # no residual may hang on a shape
    found = saved_residuals(lambda p: loss(p, batch), args[0])
    kept = [aval for aval, why in found if "argument" not in why]
    return sum(aval.size * aval.dtype.itemsize for aval in kept)


def residuals(shape: Shape) -> None:
    """Table 1, first half: the same residual bytes, fewer matrix products."""
    args = (parameters(shape), tokens(shape))
    plain = loss_of(shape)
    whole = ckpt.jax.plan(plain, *args, device=PRODUCTS)
    once = sum(k.matmul for k in whole.kernels.tasks.values())
    head("policy", "on", "residual MiB", "its products again %", "ours %", "MiB", "gap %", "s")
    for name in POLICIES[1:]:
        each = loss_of(shape, wrap=wrapped(name))
        for where, loss in (("each block", each), ("the whole", wrapped(name)(plain))):
            size = residual_bytes(loss, args)
            mark = mark_of(loss, args, name, PRODUCTS)
            began = time.perf_counter()
            plan = ckpt.jax.plan(plain, *args, budget=Budget(rest=size), device=PRODUCTS)
            seconds = time.perf_counter() - began
            theirs = 100 * (mark.matmul_flops - once) / plan.forward_matmul_flops
            ours = 100 * plan.recomputed_matmul_flops / plan.forward_matmul_flops
            row(
                name, where, f"{size / MIB:.0f}", f"{theirs:.1f}", f"{ours:.1f}",
                f"{plan.residual_bytes / MIB:.0f}", f"{plan.gap_percent:.2f}", f"{seconds:.1f}",
            )  # fmt: skip


def peaks(shape: Shape, device: str) -> None:
    """Table 1, second half: the same peak, less time."""
    args = (parameters(shape), tokens(shape))
    plain = loss_of(shape)
    head("policy", "on", "peak GiB", "its ms", "our ms", "bound ms", "gap %")
    for name in POLICIES:
        each = loss_of(shape, wrap=wrapped(name))
        for where, loss in (("each block", each), ("the whole", wrapped(name)(plain))):
            mark = mark_of(loss, args, name, device)
            plan = ckpt.jax.plan(plain, *args, budget=mark.peak_bytes, device=device)
            row(
                name, where, f"{mark.peak_bytes / GIB:.2f}", f"{1e3 * mark.seconds:.2f}",
                f"{1e3 * plan.seconds:.2f}", f"{1e3 * plan.bound_seconds:.2f}",
                f"{plan.gap_percent:.2f}",
            )  # fmt: skip


def scans(shape: Shape, device: str) -> None:
    """Table 2."""
    args = (parameters(shape, scan=True), tokens(shape))
    plain = loss_of(shape, scan=True)
    head("budget GiB", "estimate of temporaries MiB", "XLA MiB", "apart %", "over %", "turns")
    for size in (10, 8, 6, 4, 3):
        f = ckpt.jax.checkpoint(plain, budget=size * GIB, device=device)
        plan = ckpt.jax.plan(f, *args)
        found = jax.jit(jax.grad(f)).lower(*args).compile().memory_analysis().temp_size_in_bytes
        fixed = plan.argument_bytes + plan.kernels.result_bytes
        expected = plan.peak_bytes - fixed
        row(
            size, f"{expected / MIB:.0f}", f"{found / MIB:.0f}",
            f"{100 * (found / expected - 1):+.1f}", f"{100 * plan.overhead:.1f}", plan.level,
        )  # fmt: skip
    print()
    whole = ckpt.jax.plan(plain, *args, device=PRODUCTS)
    once = sum(k.matmul for k in whole.kernels.tasks.values())
    head("policy, each turn", "peak GiB", "its products again %", "ours at most its peak %")
    for name in POLICIES[1:]:
        mark = mark_of(loss_of(shape, wrap=wrapped(name), scan=True), args, name, PRODUCTS)
        plan = ckpt.jax.plan(plain, *args, budget=mark.peak_bytes, device=PRODUCTS)
        theirs = 100 * (mark.matmul_flops - once) / plan.forward_matmul_flops
        ours = 100 * plan.recomputed_matmul_flops / plan.forward_matmul_flops
        row(name, f"{mark.peak_bytes / GIB:.2f}", f"{theirs:.1f}", f"{ours:.1f}")


def timings(device: str) -> None:
    """Table 3: what planning adds to tracing, with nothing on disk."""
    head("model", "kernels", "traced in s", "budget", "planned in s", "over %", "gap %")
    cases: Iterable[tuple[str, Shape, bool]] = (
        ("GPT-2, 12 layers", GPT2, False),
        ("GPT-3 shapes, 96 layers", GPT3, False),
        ("GPT-2, a scan of 12", GPT2, True),
        ("GPT-3 shapes, a scan of 96", GPT3, True),
    )
    for name, shape, scan in cases:
        args = (parameters(shape, scan=scan), tokens(shape))
        plain = loss_of(shape, scan=scan)
        began = time.perf_counter()
        whole = ckpt.jax.plan(plain, *args, device=device)
        traced = time.perf_counter() - began
        free = whole.peak_bytes - whole.problem.fixed_bytes
        jaxpr = ckpt.jax.checkpoint(plain, device=device).trace(args, {})[0].jaxpr
        for share in (0.7, 0.5, 0.3):
            budget = int(whole.problem.fixed_bytes + share * free)
            f = ckpt.jax.checkpoint(plain, budget=budget, device=device)
            began = time.perf_counter()
            plan, seconds = _planned(f, args, jaxpr, whole)
            row(
                name, len(whole.kernels.tasks), f"{traced:.1f}", f"{share:.0%} of the free part",
                f"{seconds:.1f}", f"{100 * plan.overhead:.2f}", f"{plan.gap_percent:.2f}",
            )  # fmt: skip


def _planned(f: Any, args: tuple[Any, ...], jaxpr: Any, whole: Plan) -> tuple[Plan, float]:
    """A plan on a program that is traced already, and the seconds for it."""
    began = time.perf_counter()
    if loops_of(jaxpr, whole.kernels.joint.wanted):
        plan = f.plan_of(args, {})
    else:
        plan = planned(whole.kernels, f.request)
    return plan, time.perf_counter() - began


def _gpt(dtype: str, *, scan: bool) -> _Case:
    shape = Shape(2, 32, 2, 64, 32, 8, dtype)
    return loss_of(shape, scan=scan), (parameters(shape, scan=scan), tokens(shape))


def _resnet(dtype: str) -> _Case:
    images = jax.ShapeDtypeStruct((4, 32, 32, 3), dtype)
    labels = jax.ShapeDtypeStruct((4,), "int32")
    return jax_resnet.loss, (jax_resnet.parameters(dtype, ((8, 1), (16, 1))), images, labels)


def _unet(dtype: str) -> _Case:
    images = jax.ShapeDtypeStruct((2, 16, 16, 3), dtype)
    return jax_unet.loss, (jax_unet.parameters(dtype, (8, 16)), images, images)


def _lstm(dtype: str) -> _Case:
    xs = jax.ShapeDtypeStruct((33, 4, 16), dtype)
    return jax_lstm.loss, (jax_lstm.parameters(16, dtype), xs)


_SMALL: dict[str, Callable[[str], _Case]] = {
    "gpt": partial(_gpt, scan=False),
    "gpt-scan": partial(_gpt, scan=True),
    "resnet": _resnet,
    "unet": _unet,
    "lstm": _lstm,
}
"""Small models by name: a loss and the shapes of its arguments, of an element type."""


def gradients(count: int, models: Iterable[str]) -> None:
    """Table 4: the same gradients under every plan."""
    head("model", "dtype", "plans", "bit-equal", "largest relative difference")
    for name in models:
        for dtype in ("float32", "float64"):
            plain, shapes = _SMALL[name](dtype)
            args = arrays(shapes, vocabulary=64)
            want = jax.jit(jax.grad(plain))(*args)
            whole = ckpt.jax.plan(plain, *args, device="h100").peak_bytes
            try:
                ckpt.jax.plan(plain, *args, device="h100", budget=1)
                least = 0
            except BudgetError as error:
                least = error.min_bytes or whole
            plans, equal, worst = 0, 0, 0.0
            for i in range(count):
                budget = least + (whole - least) * i // max(1, count - 1)
                f = ckpt.jax.checkpoint(plain, budget=budget, device="h100")
                found = jax.jit(jax.grad(f))(*args)
                apart = max(map(_apart, jax.tree.leaves(want), jax.tree.leaves(found)))
                plans, equal, worst = plans + 1, equal + (apart == 0), max(worst, apart)
            row(name, dtype, plans, equal, f"{worst:.1e}")


def _apart(a: jax.Array, b: jax.Array) -> float:
    """The largest difference, relative to the largest entry."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-300))


def main() -> None:
    """Run the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", default="1,2,3,4")
    parser.add_argument("--device", default="h100")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--plans", type=int, default=100)
    parser.add_argument("--models", default=",".join(_SMALL), help="of table 4")
    given = parser.parse_args()
    shape = replace(GPT2, layers=given.layers)
    with tempfile.TemporaryDirectory() as folder:
        environ["CKPT_CACHE_DIR"] = folder  # planning is timed: nothing comes from disk
        for table in given.tables.split(","):
            print(f"\nTable {table}\n")
            match table.strip():
                case "1":
                    residuals(shape)
                    print()
                    peaks(shape, given.device)
                case "2":
                    scans(shape, given.device)
                case "3":
                    timings(given.device)
                case "4":
                    jax.config.update("jax_enable_x64", val=True)
                    gradients(given.plans, given.models.split(","))
                    jax.config.update("jax_enable_x64", val=False)
                case other:
                    parser.error(f"there is no table {other}")


if __name__ == "__main__":
    main()
