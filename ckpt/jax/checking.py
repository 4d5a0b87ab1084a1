"""The estimate against what XLA allocates, and one more plan where they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ckpt.errors import ArgumentError
from ckpt.jax.checkpointed import Checkpointed
from ckpt.jax.internals import jax
from ckpt.jax.trace import is_float

CLOSE = 0.01
"""An estimate within this fraction of XLA's figure stays."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What XLA says about the compiled step, on each device.

    Attributes:
        argument_bytes: of its arguments.
        output_bytes: of its results.
        temporary_bytes: of everything in between.
        alias_bytes: of results that take over arguments.
        platform: that it was compiled for.
    """

    argument_bytes: int
    output_bytes: int
    temporary_bytes: int
    alias_bytes: int
    platform: str

    @property
    def peak_bytes(self) -> int:
        """Everything at once: XLA allocates temporaries as one block."""
        whole = self.argument_bytes + self.output_bytes + self.temporary_bytes
        return whole - self.alias_bytes


def compiled_figure(
    f: Checkpointed[..., Any], args: Sequence[Any], kwargs: dict[str, Any], argnums: Any
) -> Compiled | None:
    """Compile a gradient step for arrays or shapes and read what XLA allocates; None if silent."""
    given = f.as_placed(args)
    found = jax.jit(_step(f, argnums)).lower(*given, **kwargs).compile().memory_analysis()
    if found is None:
        return None
    return Compiled(
        found.argument_size_in_bytes,
        found.output_size_in_bytes,
        found.temp_size_in_bytes,
        found.alias_size_in_bytes,
        jax.default_backend(),
    )


def checked(
    f: Checkpointed[..., Any], *args: Any, argnums: int | Sequence[int] = 0, **kwargs: Any
) -> Checkpointed[..., Any]:
    """Compile the gradient step once, and plan once more where XLA's figure is another.

    While tracing, what a device holds of an intermediate is an estimate; XLA decides. The
    difference is then counted in every plan of the function that comes back: where XLA takes more,
    plans get so much less, and where it takes less, so much more, if the result still fits.

    Args:
        f: the result of `checkpoint`, with a budget.
        args: arrays or `jax.ShapeDtypeStruct`s, with their shardings.
        argnums: by which arguments to differentiate.
        kwargs: of the call.

    Returns:
        `f` itself if the estimate is within one percent, or if XLA says nothing.

    Raises:
        ArgumentError: `f` has no budget.
        BudgetError: with what XLA takes, no plan fits.

    >>> import jax, jax.numpy as jnp
    >>> import ckpt.jax
    >>> def loss(ws, x):
    ...     return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, ws)[0].sum()
    >>> shapes = (jax.ShapeDtypeStruct((16, 64, 64), "float32"),
    ...           jax.ShapeDtypeStruct((1024, 64), "float32"))
    >>> f = ckpt.jax.checkpoint(loss, budget="8MiB", device="h100")
    >>> f = checked(f, *shapes)
    >>> ckpt.jax.explain(f, *shapes, compiled=True).compiled.peak_bytes <= 8 * 2**20
    True
    """
    budget = f.request.budget
    if budget.bytes is None and budget.fraction is None:
        raise ArgumentError("checked: the function has no budget to keep to")
    plan = f.plan_of(args, kwargs, argnums)
    figure = compiled_figure(f, args, kwargs, argnums)
    if figure is None:
        return f
    apart = figure.peak_bytes + budget.reserve - plan.peak_bytes
    if abs(apart) <= CLOSE * plan.peak_bytes:
        return f
    corrected = replace(f.request, correction_bytes=f.request.correction_bytes + apart)
    other = Checkpointed(f.function, corrected, f.in_shardings)
    other.plan_of(args, kwargs, argnums)
    if apart > 0:
        return other
    again = compiled_figure(other, args, kwargs, argnums)
    fits = again is not None and again.peak_bytes + budget.reserve <= plan.decision.budget_bytes
    return other if fits else f


def _step(f: Callable[..., Any], argnums: int | Sequence[int]) -> Callable[..., Any]:
    """The function with its gradient: of a scalar, or with cotangents of ones."""

    def step(*args: Any, **kwargs: Any) -> Any:
        by = (argnums,) if isinstance(argnums, int) else tuple(argnums)

        def of_chosen(*values: Any) -> Any:
            full = list(args)
            for i, value in zip(by, values, strict=True):
                full[i] = value
            outs = jax.tree.leaves(f(*full, **kwargs))
            return [o for o in outs if is_float(o)], outs

        outs, pull, whole = jax.vjp(of_chosen, *(args[i] for i in by), has_aux=True)
        return whole, pull([jax.numpy.ones_like(o) for o in outs])

    return step
