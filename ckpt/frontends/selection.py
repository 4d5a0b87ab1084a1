"""Choosing between values by conditions: where, clip, select, and what is made of them."""

from typing import Any

import ml_dtypes
import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.lets import array, cast, number
from ckpt.frontends.promotion import converted, operand, promoted
from ckpt.frontends.tracer import Tracer
from ckpt.frontends.ufuncs import elementwise
from ckpt.ir.types import DType
from ckpt.ops.arithmetic import Where
from ckpt.ops.binary import Maximum, Minimum

_UNSET = object()


@rule_of(np.where)
def where(condition: Any, x: Any = _UNSET, y: Any = _UNSET) -> Tracer:
    """`np.where` with three arguments; with one its shape would depend on values."""
    if x is _UNSET or y is _UNSET:
        refusals.refuse_function("np.nonzero", ["np.where"])
    mask = converted(operand(condition), DType.BOOL)
    x, y = promoted(x, y, what="np.where")
    return elementwise(Where(), mask, x, y)


@rule_of(np.clip)
def clip(
    a: Any,
    a_min: Any = _UNSET,
    a_max: Any = _UNSET,
    out: None = None,
    *,
    min: Any = _UNSET,  # noqa: A002
    max: Any = _UNSET,  # noqa: A002
) -> Tracer:
    """`np.clip`: the larger of the lower bound, then the smaller of the upper one."""
    del out
    low = min if a_min is _UNSET else a_min
    high = max if a_max is _UNSET else a_max
    low, high = (None if bound is _UNSET else bound for bound in (low, high))
    bounds = [bound for bound in (low, high) if bound is not None]
    x, *limits = promoted(a, *bounds, what="np.clip")
    if low is not None:
        x = elementwise(Maximum(), x, limits[0])
    if high is not None:
        x = elementwise(Minimum(), x, limits[-1])
    return x


@rule_of(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """`np.select`: the choice of the first condition that holds."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError("np.select needs as many choices as conditions, and at least one")
    *choices, result = promoted(*choicelist, default, what="np.select")
    for condition, choice in reversed(list(zip(condlist, choices, strict=True))):
        result = where(condition, choice, result)
    return result


@rule_of(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """`np.nan_to_num`: finite numbers in place of NaN and infinities."""
    del copy
    x = array(x)
    if not x.type.dtype.is_float:
        return x
    limits = ml_dtypes.finfo(x.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    for bad, value in ((np.isnan(x), nan), (x == np.inf, high), (x == -np.inf, low)):
        x = where(bad, converted(operand(value), x.type.dtype), x)
    return x


@rule_of(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """`np.isclose`: within `atol + rtol * |b|`, or the same infinity."""
    a, b = promoted(a, b, what="np.isclose")
    near: Any = (abs(a - b) <= atol + rtol * abs(b)) & np.isfinite(b)
    near = near | (a == b)
    return near | (np.isnan(a) & np.isnan(b)) if equal_nan else near


@rule_of(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """`np.allclose`, as a traced bool."""
    return np.all(isclose(a, b, rtol, atol, equal_nan))


@rule_of(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """`np.array_equal`: as a traced bool where shapes agree."""
    a1, a2 = array(a1), array(a2)
    if a1.shape != a2.shape:
        return False
    same: Any = a1 == a2
    return np.all(same | (np.isnan(a1) & np.isnan(a2)) if equal_nan else same)


@rule_of(np.isposinf)
def isposinf(x: Any, out: None = None) -> Any:
    """`np.isposinf`."""
    del out
    return x == np.inf


@rule_of(np.isneginf)
def isneginf(x: Any, out: None = None) -> Any:
    """`np.isneginf`."""
    del out
    return x == -np.inf


@rule_of(np.round, np.around)
def round(a: Any, decimals: int = 0, out: None = None) -> Any:  # noqa: A001
    """`np.round`: to the nearest, ties to even, after scaling by a power of ten."""
    del out
    x = array(a)
    if x.type.dtype is DType.BOOL:
        refusals.refuse_parameter("np.round", "bool operands", "convert with astype before")
    if x.type.dtype.is_integer:
        if decimals < 0:
            refusals.refuse_parameter(
                "np.round", "decimals < 0 for integers", "convert with astype to a float before"
            )
        return x
    if decimals == 0:
        return np.rint(x)
    scale = number(10.0 ** abs(decimals), x.type.dtype)
    return np.rint(x * scale) / scale if decimals > 0 else np.rint(x / scale) * scale


@rule_of(np.fix)
def fix(x: Any, out: None = None) -> Any:
    """`np.fix`: round towards zero."""
    del out
    return np.trunc(x)


@rule_of(np.sinc)
def sinc(x: Any) -> Any:
    """`np.sinc`: sin(πx) / (πx), one at zero."""
    x = array(x)
    if not x.type.dtype.is_float:
        x = cast(x, DType.F64)
    angle = np.where(x == 0, number(1e-20, x.type.dtype), x) * np.pi  # as NumPy has it
    return np.sin(angle) / angle


@rule_of(np.real)
def real(val: Any) -> Any:
    """`np.real`: the value itself."""
    return val


@rule_of(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """`np.iscomplexobj`: never."""
    del x
    return False


@rule_of(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """`np.isrealobj`: always."""
    del x
    return True
