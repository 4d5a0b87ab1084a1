"""Inverse trigonometric functions: arcsin, arccos, arctan, arctan2."""

from math import inf, pi

from ckpt.codegen.mathematics.formats import is_negative
from ckpt.codegen.mathematics.number import Number, choose, polynomial
from ckpt.ir.types import DType

# (asin(x) - x) / x**3 in x**2 for |x| <= 1/2; relative error of asin: 2**-28 and 2**-56
_ASIN = {
    DType.F32: (
        0.16666752099990845,
        0.07495313137769699,
        0.045468542724847794,
        0.024187970906496048,
        0.042152855545282364,
    ),
    DType.F64: (
        0.16666666666665408,
        0.07500000000337151,
        0.04464285682820844,
        0.030381959142129683,
        0.022371757922061773,
        0.017359706766284514,
        0.01388521501469054,
        0.01216935037983051,
        0.006527355538498897,
        0.01953001605862337,
        -0.016227087344907923,
        0.03191427287564938,
    ),
}
# (atan(t) - t) / t**3 in t**2 for |t| <= tan(π/8); relative error of atan: 2**-30 and 2**-59
_ATAN = {
    DType.F32: (
        -0.33333316445350647,
        0.19998526573181152,
        -0.14244341850280762,
        0.1059868186712265,
        -0.06088560074567795,
    ),
    DType.F64: (
        -0.3333333333333319,
        0.19999999999952184,
        -0.14285714280054101,
        0.11111110776298554,
        -0.09090897550853881,
        0.07692056518737439,
        -0.06663061838430388,
        0.05847580622580271,
        -0.05037906435978818,
        0.038028840539651554,
        -0.017867875206520792,
    ),
}
_HALF_PI_LOW = {DType.F32: -4.371138828673793e-08, DType.F64: 6.123233995736766e-17}
"""What π/2, rounded, lacks."""

_TAN_EIGHTH = 0.4142135623730951  # tan(π/8)
# beyond these, arctan2 scales its operands
_SCALED = {DType.F32: (2.0**125, 2.0**-100), DType.F64: (2.0**1021, 2.0**-960)}


def _asin_parts(x: Number) -> tuple[Number, Number]:
    """Whether |x| is above 1/2, and asin(|x|), or there asin(√((1 - |x|) / 2)).

    asin(|x|) is π/2 minus twice that. Beyond 1 the root is NaN.
    """
    size = abs(x)
    far = size > 0.5
    z = choose(far, (1 - size) * 0.5, size * size)
    s = choose(far, z.sqrt(), size)
    return far, (s * z).fma(polynomial(z, _ASIN[x.dtype]), s)


def arcsin(x: Number) -> Number:
    """The inverse sine."""
    far, part = _asin_parts(x)
    other = pi / 2 - part.fma(2, -_HALF_PI_LOW[x.dtype])
    return choose(far, other, part).with_sign_of(x)


def arccos(x: Number) -> Number:
    """The inverse cosine."""
    far, part = _asin_parts(x)
    low = _HALF_PI_LOW[x.dtype]
    near = pi / 2 - (part.with_sign_of(x) - low)
    beyond = choose(x > 0, part * 2, 2 * (pi / 2 - (part - low)))
    return choose(far, beyond, near)


def _angle(a: Number, b: Number) -> Number:
    """The angle of the point (b, a), both not negative and one of them positive.

    Turned by 0, π/4 or π/2, so that its tangent is at most tan(π/8).
    """
    steep = b < a * _TAN_EIGHTH
    flat = a < b * _TAN_EIGHTH
    above = choose(steep, -b, choose(flat, a, a - b))
    below = choose(steep, a, choose(flat, b, a + b))
    low = _HALF_PI_LOW[a.dtype]
    start = choose(steep, a.like(pi / 2), choose(flat, a.like(0), pi / 4))
    start_low = choose(steep, a.like(low), choose(flat, a.like(0), low / 2))
    t = above / below
    z = t * t
    return start + (t + (t * z).fma(polynomial(z, _ATAN[a.dtype]), start_low))


def arctan(x: Number) -> Number:
    """The inverse tangent."""
    return _angle(abs(x), x.like(1)).with_sign_of(x)


def arctan2(y: Number, x: Number) -> Number:
    """The angle of the point (x, y), from -π to π."""
    a, b = abs(y), abs(x)
    # infinite in both: as far one way as the other
    both = a.equals(inf) & b.equals(inf)
    a, b = choose(both, 1, a), choose(both, 1, b)
    # their sum must be finite, and a part of the larger a normal number
    larger = choose(a > b, a, b)
    high, low = _SCALED[x.dtype]
    up = choose(larger < low, x.like(1 / low), 1)
    scale = choose(larger > high, 0.25, up)
    a, b = a * scale, b * scale
    b = choose((a + b).equals(0), 1, b)
    angle = _angle(a, b)
    turned = pi - (angle - 2 * _HALF_PI_LOW[x.dtype])
    return choose(is_negative(x), turned, angle).with_sign_of(y)
