"""What each code of a `Map` means for one element, said once for every printer.

A printer offers a dozen machine operations (`Scalars`); everything else is built from them, here
and in `mathematics`, so that the LLVM and the numba route cannot differ in meaning. Specials
follow NumPy: NaN wins in `maximum` and `minimum`, integer division by zero gives zero, remainders
take the divisor's sign.
"""

from math import inf

from ckpt.codegen.halves import as_f32
from ckpt.codegen.machine import Rule, Scalars, Value
from ckpt.codegen.mathematics import FUNCTIONS
from ckpt.ir.types import DType


def scalar(code: str, s: Scalars, out: DType, ins: tuple[Value, ...]) -> Value:
    """Print one element of a code: of halves in f32, its result rounded.

    Raises:
        KeyError: there is no such code.
    """
    made = CODES[code](s, out.wide, tuple(map(as_f32, ins)))
    if not out.is_half:
        return made
    return Value(made.text, out) if code in _MOVES else s.cast(made, out)


_MOVES = {"copy", "zero", "neg", "abs", "sign", "maximum", "minimum", "where", "gate"}
"""Of halves they make halves: nothing to round."""


def _binary(op: str) -> Rule:
    return lambda s, _, v: s.binary(op, *v)


def _compare(op: str) -> Rule:
    return lambda s, _, v: s.compare(op, *v)


def _exact(name: str) -> Rule:
    return lambda s, _, v: s.exact(name, *v)


def _zero(s: Scalars, x: Value) -> Value:
    return s.const(0, x.dtype)


def _neg(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    # 0 - x would lose the sign of zero; -1 * x keeps it, and is exact
    if out.is_float:
        return s.binary("mul", v[0], s.const(-1, out))
    return s.binary("sub", s.const(0, out), v[0])


def _abs(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    if out.is_float:
        return s.exact("fabs", v[0])
    return s.select(s.compare("lt", v[0], _zero(s, v[0])), _neg(s, out, v), v[0])


def _sign(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    zero = _zero(s, v[0])
    above = s.compare("gt", v[0], zero)
    below = s.compare("lt", v[0], zero)
    # what is neither is zero, or NaN, which stays; adding 0 makes 0 of -0
    rest = s.binary("add", v[0], zero)
    return s.select(above, s.const(1, out), s.select(below, s.const(-1, out), rest))


def _extremum(compare: str) -> Rule:
    def rule(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
        x, y = v
        if out is DType.BOOL:
            return s.binary("or" if compare == "ge" else "and", x, y)
        first = s.compare(compare, x, y)
        if out.is_float:
            first = s.binary("or", first, s.compare("ne", x, x))
        return s.select(first, x, y)

    return rule


def _safe_divisor(s: Scalars, y: Value) -> tuple[Value, Value, Value]:
    """Whether y is 0, whether it is -1, and y or, in these cases, 1."""
    is_zero = s.compare("eq", y, s.const(0, y.dtype))
    is_minus = s.compare("eq", y, s.const(-1, y.dtype))
    return is_zero, is_minus, s.select(s.binary("or", is_zero, is_minus), s.const(1, y.dtype), y)


def _differs(s: Scalars, rest: Value, y: Value) -> Value:
    """Whether a remainder is not zero and has not the sign of the divisor."""
    zero = _zero(s, y)
    signs = s.binary("xor", s.compare("lt", rest, zero), s.compare("lt", y, zero))
    return s.binary("and", s.compare("ne", rest, zero), signs)


def _floor_divide(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    x, y = v
    zero = s.const(0, out)
    if out.is_float:
        rest = s.call("fmod", x, y)
        quotient = s.binary("div", s.binary("sub", x, rest), y)
        less = s.binary("sub", quotient, s.const(1, out))
        quotient = s.select(_differs(s, rest, y), less, quotient)
        down = s.exact("floor", quotient)
        more = s.binary("add", down, s.const(1, out))
        far = s.compare("gt", s.binary("sub", quotient, down), s.const(0.5, out))
        plain = s.binary("div", x, y)
        rounded = s.select(far, more, down)
        signed = s.exact("copysign", zero, plain)
        result = s.select(s.compare("ne", quotient, zero), rounded, signed)
        return s.select(s.compare("eq", y, zero), plain, result)
    is_zero, is_minus, safe = _safe_divisor(s, y)
    quotient = s.binary("sdiv", x, safe)
    rest = s.binary("srem", x, safe)
    less = s.binary("sub", quotient, s.const(1, out))
    quotient = s.select(_differs(s, rest, y), less, quotient)
    quotient = s.select(is_minus, s.binary("sub", zero, x), quotient)
    return s.select(is_zero, zero, quotient)


def _remainder(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    x, y = v
    zero = s.const(0, out)
    if out.is_float:
        rest = s.call("fmod", x, y)
        moved = s.select(_differs(s, rest, y), s.binary("add", rest, y), rest)
        signed = s.select(s.compare("eq", rest, zero), s.exact("copysign", zero, y), moved)
        return s.select(s.compare("eq", y, zero), rest, signed)
    is_zero, is_minus, safe = _safe_divisor(s, y)
    rest = s.binary("srem", x, safe)
    rest = s.select(_differs(s, rest, y), s.binary("add", rest, y), rest)
    return s.select(s.binary("or", is_zero, is_minus), zero, rest)


def _pow(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    x, y = v
    if out.is_float:
        return FUNCTIONS["pow"](s, out, v)
    # by squaring, for every bit that an exponent can have; where NumPy raises (a negative
    # exponent) the result is the integer part of the true one
    one, zero = s.const(1, out), s.const(0, out)
    result, base = one, x
    for bit in range(out.itemsize * 8 - 1):
        taken = s.binary("and", s.binary("ashr", y, s.const(bit, out)), one)
        result = s.select(s.compare("ne", taken, zero), s.binary("mul", result, base), result)
        base = s.binary("mul", base, base)
    odd = s.compare("ne", s.binary("and", y, one), zero)
    minus = s.compare("eq", x, s.const(-1, out))
    signed = s.select(minus, s.select(odd, s.const(-1, out), one), zero)
    inverse = s.select(s.compare("eq", x, one), one, signed)
    return s.select(s.compare("lt", y, zero), inverse, result)


def _shift(op: str) -> Rule:
    def rule(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
        x, y = v
        width = out.itemsize * 8
        zero = s.const(0, out)
        inside = s.binary("and", s.compare("ge", y, zero), s.compare("lt", y, s.const(width, out)))
        shifted = s.binary(op, x, s.select(inside, y, zero))
        outside = zero if op == "shl" else s.binary("ashr", x, s.const(width - 1, out))
        return s.select(inside, shifted, outside)

    return rule


def _invert(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    ones = s.const(1, out) if out is DType.BOOL else s.const(-1, out)
    return s.binary("xor", v[0], ones)


def _bits_to_uniform(s: Scalars, out: DType, v: tuple[Value, ...]) -> Value:
    bits = 24 if out is DType.F32 else 53  # as many as the float holds exactly
    low = s.binary("and", v[0], s.const((1 << bits) - 1, v[0].dtype))
    return s.binary("mul", s.cast(low, out), s.const(0.5**bits, out))


CODES: dict[str, Rule] = {
    **FUNCTIONS,
    "copy": lambda _s, _, v: v[0],
    "zero": lambda s, out, _: s.const(0, out),
    "cast": lambda s, out, v: s.cast(v[0], out),
    "neg": _neg,
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "div": _binary("div"),
    "abs": _abs,
    "sign": _sign,
    "square": lambda s, _, v: s.binary("mul", v[0], v[0]),
    "reciprocal": lambda s, out, v: s.binary("div", s.const(1, out), v[0]),
    "pow": _pow,
    "remainder": _remainder,
    "floor_divide": _floor_divide,
    "maximum": _extremum("ge"),
    "minimum": _extremum("le"),
    "where": lambda s, _, v: s.select(v[0], v[1], v[2]),
    "gate": lambda s, out, v: s.select(v[1], v[0], s.const(0, out)),
    "equal": _compare("eq"),
    "not_equal": _compare("ne"),
    "less": _compare("lt"),
    "less_equal": _compare("le"),
    "greater": _compare("gt"),
    "greater_equal": _compare("ge"),
    "isnan": lambda s, _, v: s.compare("ne", v[0], v[0]),
    "isinf": lambda s, _, v: s.compare("eq", s.exact("fabs", v[0]), s.const(inf, v[0].dtype)),
    "isfinite": lambda s, _, v: s.compare("lt", s.exact("fabs", v[0]), s.const(inf, v[0].dtype)),
    "logical_not": _invert,
    "logical_and": _binary("and"),
    "logical_or": _binary("or"),
    "logical_xor": _binary("xor"),
    "invert": _invert,
    "bitwise_and": _binary("and"),
    "bitwise_or": _binary("or"),
    "bitwise_xor": _binary("xor"),
    "shift_left": _shift("shl"),
    "shift_right": _shift("ashr"),
    **{name: _exact(name) for name in ("floor", "ceil", "trunc", "rint", "sqrt")},
    "bits_to_uniform": _bits_to_uniform,
}
"""Every code, by the name of its op."""

COMBINE = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}
"""The code that combines two elements in a reduction."""


def identity(code: str, dtype: DType) -> float:
    """The value from which a reduction starts.

    >>> identity("add", DType.F32), identity("max", DType.I32)
    (0, -2147483648)
    """
    if code in ("add", "mul"):
        return 0 if code == "add" else 1
    if dtype is DType.BOOL:
        return code == "min"
    if dtype.is_float:
        return -inf if code == "max" else inf
    half = 1 << (dtype.itemsize * 8 - 1)
    return -half if code == "max" else half - 1
