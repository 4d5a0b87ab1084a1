"""Gradients under a byte budget."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ckpt.api.derive import Joint, gradient_of, joint_of
from ckpt.api.device import device_of
from ckpt.api.signature import chosen, trees
from ckpt.api.step import Options, Step, result_of
from ckpt.choice import Budget, Limits, Progress
from ckpt.cost.device import Device
from ckpt.errors import ArgumentError
from ckpt.frontends.numpy import Traced


def value_and_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    budget: Budget | int | str | None = None,
    policy: str = "auto",
    device: Device | str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    fusion: bool = True,
    patterns: bool = True,
) -> Step:
    """A function that computes `f` and its gradient within a byte budget.

    Args:
        f: returns one float scalar, or `(scalar, aux)` with `has_aux`; written in NumPy.
        argnums: which positional arguments to differentiate with respect to; every number and
            array in them must be float.
        has_aux: whether `f` returns something besides the value.
        budget: on everything alive during a step: inputs, outputs, arena with scratch and
            fragmentation, and the reserve. Bytes, "64MiB", "0.4x" (of the save-all peak) or a
            `Budget`; None saves everything.
        policy: who plans; "auto" is a portfolio with a certified bound.
        device: whose costs to plan with, or its name; by default this processor's.
        limits: how hard to search; the default is deterministic.
        progress: called while planning.
        fusion: whether elementwise work is inlined into the loops that read it. Off it is for
            debugging: the results have the same bits, with more traffic and more memory.
        patterns: whether what is recognised (`ckpt.simplify.recognise`: softmax attention) gets a
            blocked kernel, which keeps less for the derivative. The last bits of results differ
            with it and without; budgets and plans never change them.

    Returns:
        A `Step`: `step(*args) -> (value, grads)`, or `((value, aux), grads)` with `has_aux`.
        `grads` has the structure of the argument, or is a tuple of them when `argnums` is one.

    Raises:
        At the first call or plan: TraceError, UnsupportedOpError, BudgetError, ArgumentError.

    >>> import numpy as np
    >>> step = value_and_grad(lambda w, x: np.sum(np.sin(x * w)))
    >>> value, grad = step(np.float64(2.0), np.array([0.0, 0.5]))
    >>> round(float(value), 4), round(float(grad), 4)
    (0.8415, 0.2702)
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def wanted(traced: Traced) -> list[bool]:
        return chosen(traced.arguments, len(traced.program.ins), numbers)

    def derive(traced: Traced) -> Joint:
        return gradient_of(traced.program, wanted(traced), patterns=patterns)

    def derived(traced: Traced) -> str:
        return f"gradient {wanted(traced)} {patterns}"

    def collect(traced: Traced, results: Sequence[Any]) -> Any:
        n_outs = len(traced.program.outs)
        grads = iter(results[n_outs:])
        by_leaf = [next(grads) if w else None for w in wanted(traced)]
        found = trees(traced.arguments, by_leaf[: len(traced.in_types)], numbers)
        value = result_of(traced, results[:n_outs])
        return value, found[0] if isinstance(argnums, int) else tuple(found)

    def checked(*args: Any, **kwargs: Any) -> Any:
        result = f(*args, **kwargs)
        if has_aux and not (isinstance(result, tuple) and len(result) == 2):  # pyright: ignore[reportUnknownArgumentType]
            raise ArgumentError(
                f"{_name(f)} must return (value, aux) with has_aux=True; it returned "
                f"{type(result).__name__}"
            )
        return result  # pyright: ignore[reportUnknownVariableType]

    options = Options(Budget.of(budget), policy, device_of(device), limits, progress, fusion)
    whole = functools.wraps(f)(checked) if has_aux else f
    return Step(whole, derive, collect, options, derived)


def grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    budget: Budget | int | str | None = None,
    policy: str = "auto",
    device: Device | str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    fusion: bool = True,
    patterns: bool = True,
) -> Step:
    """As `value_and_grad`, without the value: `step(*args) -> grads`, or `(grads, aux)`.

    >>> import numpy as np
    >>> float(grad(lambda x: x * x * x)(np.float64(2.0)))
    12.0
    >>> float(grad(grad(lambda x: x * x * x))(np.float64(2.0)))
    12.0
    """
    whole = value_and_grad(
        f,
        argnums,
        has_aux=has_aux,
        budget=budget,
        policy=policy,
        device=device,
        limits=limits,
        progress=progress,
        fusion=fusion,
        patterns=patterns,
    )

    def only_grads(result: Any) -> Any:
        value, grads = result
        return (grads, value[1]) if has_aux else grads

    return whole.then(only_grads)


def compile(  # noqa: A001
    f: Callable[..., Any],
    *,
    budget: Budget | int | str | None = None,
    policy: str = "auto",
    device: Device | str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    fusion: bool = True,
    patterns: bool = True,
) -> Step:
    """A function compiled as it is, within a byte budget.

    Derivatives taken inside become part of the same program: a whole training step, gradient
    accumulation and optimizer update included, has one plan and one budget.

    Args:
        f: written in NumPy.
        budget: on everything alive during a step, as in `value_and_grad`.
        policy: who plans.
        device: whose costs to plan with, or its name.
        limits: how hard to search.
        progress: called while planning.
        fusion: whether elementwise work is inlined into the loops that read it.
        patterns: whether what is recognised gets a blocked kernel, as in `value_and_grad`.

    >>> import numpy as np
    >>> def train(w, x):
    ...     loss, g = value_and_grad(lambda w: np.sum((w - x) ** 2))(w)
    ...     return loss, w - 0.5 * g
    >>> loss, w = compile(train)(np.zeros(2), np.ones(2))
    >>> float(loss), w
    (2.0, array([1., 1.]))
    """
    options = Options(Budget.of(budget), policy, device_of(device), limits, progress, fusion)

    def derive(traced: Traced) -> Joint:
        return joint_of(traced.program, patterns=patterns)

    return Step(f, derive, result_of, options, lambda _: f"program {patterns}")


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", repr(f))
