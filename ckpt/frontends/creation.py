"""Arrays made after the model of another: zeros_like and its like, and astype."""

from typing import Any

import numpy as np

from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.lets import array, broadcast_to, cast, full
from ckpt.frontends.lift import supported
from ckpt.frontends.shapes import lengths
from ckpt.frontends.tracer import Tracer


def astype(x: Any, dtype: Any, *, copy: bool = True, **given: Any) -> Tracer:
    """The value in another dtype, by NumPy's unsafe casting."""
    del copy, given
    return cast(array(x), supported(dtype, "the result of astype"))


if hasattr(np, "astype"):  # NumPy 2.1
    rule_of(np.astype)(astype)


def _like(a: Any, dtype: Any, shape: Any) -> tuple[tuple[int, ...], Any]:
    x = array(a)
    return (
        x.shape if shape is None else lengths(shape),
        x.type.dtype if dtype is None else supported(dtype, "the new array"),
    )


@rule_of(np.zeros_like, np.empty_like)
def zeros_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Tracer:
    """`np.zeros_like`; `np.empty_like` is zeros too, for nothing is ever undefined."""
    del order, subok, device
    wanted, kind = _like(a, dtype, shape)
    return full(wanted, 0, kind)


@rule_of(np.ones_like)
def ones_like(
    a: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Tracer:
    """`np.ones_like`."""
    del order, subok, device
    wanted, kind = _like(a, dtype, shape)
    return full(wanted, 1, kind)


@rule_of(np.zeros, np.empty)
def zeros(shape: Any, dtype: Any = float, order: str = "C", *, device: Any = None) -> Tracer:
    """`np.zeros(..., like=x)`."""
    del order, device
    return full(lengths(shape), 0, supported(dtype, "the new array"))


@rule_of(np.ones)
def ones(shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None) -> Tracer:
    """`np.ones(..., like=x)`."""
    del order, device
    return full(lengths(shape), 1, supported(dtype or float, "the new array"))


@rule_of(np.full)
def filled(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None
) -> Tracer:
    """`np.full(..., like=x)`; the value may be traced."""
    del order, device
    value = array(fill_value)
    if dtype is not None:
        value = cast(value, supported(dtype, "the new array"))
    return broadcast_to(value, lengths(shape))


@rule_of(np.array, np.asarray, np.asanyarray, np.ascontiguousarray)
def asarray(a: Any, dtype: Any = None, **given: Any) -> Tracer:
    """`np.asarray(..., like=x)` and its like, which traced values may be given to."""
    del given
    return array(a) if dtype is None else astype(a, dtype)


def _concrete(function: Any) -> None:
    """A rule for `like=` of a function whose result depends on no traced value."""

    def rule(*args: Any, **kwargs: Any) -> Any:  # builtins lack a signature to be bound to
        return function(*args, **kwargs)

    rule_of(function)(rule)


for _function in (np.eye, np.identity, np.arange, np.tri):
    _concrete(_function)


@rule_of(np.full_like)
def full_like(  # noqa: PLR0917
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Tracer:
    """`np.full_like`; the value may be traced."""
    del order, subok, device
    wanted, kind = _like(a, dtype, shape)
    return broadcast_to(cast(array(fill_value), kind), wanted)
