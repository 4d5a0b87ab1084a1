"""What JAX's own checkpoint policies would cost, priced as our plans are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ckpt.choice import Budget, solve
from ckpt.jax.device import Accelerator
from ckpt.jax.graph import kernels_of
from ckpt.jax.internals import ClosedJaxpr, jax, jaxpr_as_fun
from ckpt.jax.loops import Level, Loop, Scheme, Turns, loops_of
from ckpt.jax.placing import Placing
from ckpt.jax.rewriting import rewritten
from ckpt.jax.trace import joint_of, specs
from ckpt.jax.ways import Way

POLICIES = (
    "everything_saveable",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "nothing_saveable",
)
"""Names in `jax.checkpoint_policies`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One of JAX's policies on one function.

    Attributes:
        name: of the policy, and on what.
        peak_bytes: everything alive at once, as for a plan.
        seconds: predicted for a step.
        matmul_flops: of all matrix products that run.
    """

    name: str
    peak_bytes: int
    seconds: float
    matmul_flops: int


def marks_of(
    jaxpr: Any, wanted: tuple[bool, ...], device: Accelerator, places: Sequence[Placing] = ()
) -> Iterator[Mark]:
    """Price every policy on the whole function, and on each turn of its scans if it has any."""
    whole = jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))
    shapes = specs(v.aval for v in jaxpr.invars)
    loops = loops_of(jaxpr, wanted)
    for name in POLICIES:
        policy = getattr(jax.checkpoint_policies, name)
        wrapped = jax.make_jaxpr(jax.checkpoint(whole, policy=policy))(*shapes).jaxpr
        yield priced(name, wrapped, wanted, device, places)
        if loops:

            def each(loop: Loop, cap: Budget, policy: Any = policy) -> Callable[..., list[Any]]:
                del cap
                return jax.checkpoint(jaxpr_as_fun(loop.closed), policy=policy, prevent_cse=False)

            way = Way(0, 0.0, 0.0, Budget())
            schemes = tuple(Scheme((Turns(loop.turns, way),), 1) for loop in loops)
            level = Level(schemes, 0, 0.0)
            inside = rewritten(jaxpr, loops, level, each)
            yield priced(f"{name}, each turn", inside, wanted, device, places)


def priced(
    name: str,
    jaxpr: Any,
    wanted: Sequence[bool],
    device: Accelerator,
    places: Sequence[Placing] = (),
) -> Mark:
    """Price a program as it stands: what its `jax.checkpoint`s run again counts again."""
    kernels = kernels_of(joint_of(jaxpr, wanted, places=places, opened=True), device)
    found = solve(kernels.problem(), "save_all")
    matmul = sum(kernel.matmul for kernel in kernels.tasks.values())
    return Mark(name, found.peak_bytes, found.seconds, matmul)
