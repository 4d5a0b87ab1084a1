"""The rules of this frontend: tables from NumPy's ufuncs and functions to what traces them.

NumPy hands a call over with `__array_ufunc__` and `__array_function__` when an operand is a
tracer. The table is the truth about what is supported; what is not in it is refused by name.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ckpt.frontends import refusals

Rule = Callable[..., Any]
_R = TypeVar("_R", bound=Rule)

UFUNCS: dict[np.ufunc, Rule] = {}
"""Ufunc called as a function: the rule takes the operands and the keyword arguments."""

UFUNC_METHODS: dict[str, Rule] = {}
"""`reduce`, `accumulate` and `outer` of any ufunc: the rule takes the ufunc first."""

FUNCTIONS: dict[Rule, Rule] = {}
"""Functions that hand calls over by `__array_function__`."""


def rule_of(*functions: Rule) -> Callable[[_R], _R]:
    """Decorator: a rule with the signature of the NumPy functions that it traces."""

    def register(rule: _R) -> _R:
        for function in functions:
            FUNCTIONS[function] = rule
        return rule

    return register


def call_ufunc(ufunc: np.ufunc, method: str, *ins: Any, **kwargs: Any) -> Any:
    """Trace one call of a ufunc, or of one of its methods.

    Raises:
        UnsupportedOpError: there is no rule for it.
        TraceError: `out=` is given.
    """
    name = refusals.qualified(ufunc)
    if any(o is not None for o in _tuple(kwargs.pop("out", None))):
        refusals.refuse_write(f"{name}(..., out=...), or an augmented assignment to a real array,")
    if method == "__call__":
        rule = UFUNCS.get(ufunc)
        if rule is None:
            refusals.refuse_function(name, supported())
        if kwargs.pop("where", True) is not True:
            refusals.refuse_parameter(name, "where=", "use np.where on the result")
        return rule(*ins, **kwargs)
    rule = UFUNC_METHODS.get(method)
    if rule is None:
        if method == "at":
            refusals.refuse_write(f"{name}.at")
        refusals.refuse_function(f"{name}.{method}", supported())
    return rule(ufunc, *ins, **kwargs)


def call_function(function: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Trace one call of a NumPy function.

    Raises:
        UnsupportedOpError: there is no rule for it.
        TraceError: `out=` is given.
    """
    name = refusals.qualified(function)
    rule = FUNCTIONS.get(function)
    if rule is None:
        refusals.refuse_function(name, supported())
    signature = _signature(rule)
    try:
        out = signature.bind(*args, **kwargs).arguments.get("out")
    except TypeError as wrong:
        unknown = [k for k in kwargs if k not in signature.parameters]
        if not unknown:
            raise TypeError(f"{name}: {wrong}, at {refusals.here()}") from None
        refusals.refuse_parameter(name, f"{unknown[0]}=...", "leave the argument out")
    if any(o is not None for o in _tuple(out)):
        refusals.refuse_write(f"{name}(..., out=...)")
    return rule(*args, **kwargs)


_signature = functools.cache(inspect.signature)


def supported() -> list[str]:
    """Names of every function that has a rule, sorted."""
    names = {refusals.qualified(f) for f in (*UFUNCS, *FUNCTIONS)}
    return sorted(names)


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)
