"""Ufuncs: which primitive, or which small program, is what a ufunc computes.

Operands are promoted as NumPy would (`ufunc.resolve_dtypes`), then broadcast, then handed to the
rule. A rule that needs several lets is written with NumPy functions on its promoted operands.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from ckpt.frontends import refusals
from ckpt.frontends.dispatch import UFUNCS
from ckpt.frontends.lets import aligned, cast, emit, number
from ckpt.frontends.promotion import Operand, converted, loop_dtypes, operand
from ckpt.frontends.tracer import Tracer
from ckpt.ir.op import Op
from ckpt.ir.types import DType
from ckpt.ops import arithmetic, binary, functions, logic

Body = Callable[..., Any]


def elementwise(op: Op, *xs: Tracer) -> Tracer:
    """One elementwise let on operands of any shapes that broadcast together."""
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return emit(op, *(aligned(x, shape) for x in xs))


def one_let(op: Op) -> Body:
    """A rule that is one primitive."""
    return lambda *xs: elementwise(op, *xs)


def register(ufunc: np.ufunc, body: Body) -> None:
    """Give a ufunc a rule: `body` takes its operands, promoted, of any shapes."""

    def rule(*ins: Any, **given: Any) -> Any:
        if len(ins) != ufunc.nin:
            refusals.refuse_write(f"{refusals.qualified(ufunc)} with an output operand")
        xs = tuple(operand(x) for x in ins)
        dtypes = _dtypes(ufunc, xs, given)
        return body(*(converted(x, d) for x, d in zip(xs, dtypes, strict=False)))

    UFUNCS[ufunc] = rule


def _dtypes(ufunc: np.ufunc, xs: tuple[Operand, ...], given: dict[str, Any]) -> tuple[DType, ...]:
    unknown = set(given) - {"dtype", "signature", "casting", "order", "subok"}
    if unknown:
        refusals.refuse_parameter(
            refusals.qualified(ufunc), f"{min(unknown)}=...", "leave the argument out"
        )
    known = {k: given[k] for k in ("dtype", "signature", "casting") if k in given}
    return loop_dtypes(ufunc, xs, **known)


def _either(number_op: Op, bool_op: Op) -> Body:
    """One primitive for numbers, another for bools, as NumPy's loops for `?` have it."""
    return lambda *xs: elementwise(bool_op if xs[0].type.dtype is DType.BOOL else number_op, *xs)


def _rounding(op: Op) -> Body:
    """Rounding of floats; integers and bools are round already."""
    return lambda x: emit(op, x) if x.type.dtype.is_float else x


def _truth(op: Op) -> Body:
    """Logic of numbers: nonzero is true."""
    return lambda *xs: elementwise(op, *(cast(x, DType.BOOL) for x in xs))


def _classify(op: Op, otherwise: np.ufunc) -> Body:
    """`isnan` and its like; of integers and bools the answer is the same everywhere."""
    return lambda x: emit(op, x) if x.type.dtype.is_float else otherwise(x, x)


def _floats_only(ufunc: np.ufunc, body: Body) -> Body:
    def checked(*xs: Tracer) -> Any:
        if not xs[0].type.dtype.is_float:
            name = refusals.qualified(ufunc)
            refusals.refuse_parameter(
                name, f"{xs[0].dtype} operands", "convert with astype to a float dtype before"
            )
        return body(*xs)

    return checked


def _power(x: Tracer, y: Tracer) -> Any:
    exponent = getattr(y.atom, "value", None)
    if exponent is not None and x.type.dtype.is_integer and exponent < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    match exponent:
        case 1:
            return x
        case 2:
            return emit(functions.Square(), x)
        case 0.5:
            return emit(functions.Sqrt(), x)
        case -1:
            return emit(functions.Reciprocal(), x)
        case _:
            return elementwise(binary.Pow(), x, y)


def _hypot(x: Any, y: Any) -> Any:
    # Scaled by the larger leg, so that squares neither overflow nor vanish.
    x, y = np.abs(x), np.abs(y)
    long, short = np.maximum(x, y), np.minimum(x, y)
    plain = (long == 0) | np.isinf(long)
    ratio = short / np.where(plain, 1, long)
    infinite = np.isinf(x) | np.isinf(y)
    return np.where(infinite, np.inf, np.where(plain, long, long * np.sqrt(1 + ratio * ratio)))


def _logaddexp(x: Any, y: Any) -> Any:
    top = np.maximum(x, y)
    same = x == y  # also where both are the same infinity, whose difference is no number
    distance = np.where(same, 0, -np.abs(x - y))
    return top + np.log1p(np.exp(distance))


def _logaddexp2(x: Any, y: Any) -> Any:
    top = np.maximum(x, y)
    distance = np.where(x == y, 0, -np.abs(x - y))
    return top + np.log1p(np.exp2(distance)) * math.log2(math.e)


def _fmax(x: Any, y: Any) -> Any:
    if not x.type.dtype.is_float:
        return np.maximum(x, y)
    return np.where(np.isnan(x), y, np.where(np.isnan(y), x, np.maximum(x, y)))


def _fmin(x: Any, y: Any) -> Any:
    if not x.type.dtype.is_float:
        return np.minimum(x, y)
    return np.where(np.isnan(x), y, np.where(np.isnan(y), x, np.minimum(x, y)))


def _heaviside(x: Any, y: Any) -> Any:
    step = np.where(x == 0, y, np.where(x < 0, number(0, x.type.dtype), 1))
    return np.where(np.isnan(x), x, step)


def _signbit(x: Any) -> Any:
    if not x.type.dtype.is_float:
        return x < 0
    # 1/-0.0 is -inf: the only way to see the sign of a zero. NaN has no sign here.
    return np.where(x == 0, np.reciprocal(x) < 0, x < 0)


def _copysign(x: Any, y: Any) -> Any:
    size = np.abs(x)
    return np.where(np.signbit(y), -size, size)


def _fmod(x: Any, y: Any) -> Any:
    # The remainder of the sizes has the sign of the dividend.
    size = np.where(x < 0, -x, x)  # not by `abs`, whose derivative at zero is zero
    rest = np.remainder(size, np.abs(y))
    return np.where(x < 0, -rest, rest)


def _scaled(factor: float) -> Body:
    return lambda x: x * number(factor, x.type.dtype)


def _expit(x: Any) -> Any:
    # Of minus the size, so that the exponential never overflows; not by `abs`, whose derivative
    # at zero is zero.
    positive = x >= 0
    small = np.exp(np.where(positive, -x, x))
    return np.where(positive, number(1, x.type.dtype), small) / (1 + small)


def _log_expit(x: Any) -> Any:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def _xlogy(x: Any, y: Any) -> Any:
    # Zero times an infinite logarithm is zero; elsewhere the product, and its derivative, hold.
    zero = (x == 0) & ~((y > 0) & (y < np.inf)) & ~np.isnan(y)
    return np.where(zero, number(0, x.type.dtype), x * np.log(np.where(zero, 1, y)))


def _xlog1py(x: Any, y: Any) -> Any:
    zero = (x == 0) & ~((y > -1) & (y < np.inf)) & ~np.isnan(y)
    return np.where(zero, number(0, x.type.dtype), x * np.log1p(np.where(zero, 0, y)))


def _ndtr(x: Any) -> Any:
    return 0.5 * scipy.special.erfc(x * -math.sqrt(0.5))


def _table() -> dict[np.ufunc, Body]:
    simple: dict[np.ufunc, Op] = {}
    for module in (arithmetic, binary, functions, logic):
        for op in vars(module).values():
            name = getattr(op, "numpy", None)
            if not isinstance(name, str) or op.__module__ != module.__name__:
                continue
            ufunc = getattr(np, name, None) or getattr(scipy.special, name)
            if isinstance(ufunc, np.ufunc):
                simple[ufunc] = op()
    bodies: dict[np.ufunc, Body] = {ufunc: one_let(op) for ufunc, op in simple.items()}
    special = scipy.special
    bodies |= {
        np.add: _either(arithmetic.Add(), logic.LogicalOr()),
        np.multiply: _either(arithmetic.Mul(), logic.LogicalAnd()),
        np.absolute: lambda x: x if x.type.dtype is DType.BOOL else emit(functions.Abs(), x),
        np.positive: lambda x: x,
        np.conjugate: lambda x: x,
        np.fabs: one_let(functions.Abs()),
        np.power: _power,
        np.float_power: _power,
        np.reciprocal: _floats_only(np.reciprocal, one_let(functions.Reciprocal())),
        np.floor: _rounding(logic.Floor()),
        np.ceil: _rounding(logic.Ceil()),
        np.trunc: _rounding(logic.Trunc()),
        np.isnan: _classify(logic.Isnan(), np.not_equal),
        np.isinf: _classify(logic.Isinf(), np.not_equal),
        np.isfinite: _classify(logic.Isfinite(), np.equal),
        np.logical_not: _truth(logic.LogicalNot()),
        np.logical_and: _truth(logic.LogicalAnd()),
        np.logical_or: _truth(logic.LogicalOr()),
        np.logical_xor: _truth(logic.LogicalXor()),
        np.hypot: _hypot,
        np.logaddexp: _logaddexp,
        np.logaddexp2: _logaddexp2,
        np.fmax: _fmax,
        np.fmin: _fmin,
        np.heaviside: _heaviside,
        np.signbit: _signbit,
        np.copysign: _copysign,
        np.fmod: _fmod,
        np.deg2rad: _scaled(math.pi / 180),
        np.radians: _scaled(math.pi / 180),
        np.rad2deg: _scaled(180 / math.pi),
        np.degrees: _scaled(180 / math.pi),
        np.divmod: lambda x, y: (np.floor_divide(x, y), np.remainder(x, y)),
        np.modf: lambda x: (np.where(np.isinf(x), 0, x - np.trunc(x)), np.trunc(x)),
        special.expit: _expit,
        special.logit: lambda x: np.log(x) - np.log1p(-x),
        special.log_expit: _log_expit,
        special.xlogy: _xlogy,
        special.xlog1py: _xlog1py,
        special.ndtr: _ndtr,
    }
    return bodies


for _ufunc, _body in _table().items():
    register(_ufunc, _body)
