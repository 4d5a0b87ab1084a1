"""Exponentials: exp, exp2, expm1.

`x = k ln 2 + r` with whole k and |r| at most ln 2 / 2, so that `exp(x) = 2**k exp(r)`. For
`exp(r) - 1` there is a polynomial; adding the 1 last keeps its rounding small.
"""

from math import log

from ckpt.codegen.mathematics.formats import at_least, at_most, nearest, power_of_two, scaled
from ckpt.codegen.mathematics.number import Number, choose, polynomial
from ckpt.ir.types import DType

LN2 = {
    DType.F32: (0.6931471824645996, -1.9046542121259336e-09),
    DType.F64: (0.6931471805599453, 2.3190468138462996e-17),
}
"""ln 2 as the sum of two numbers of the dtype."""

# (exp(r) - 1 - r) / r**2 on |r| <= 0.3467; relative error of exp(r) - 1: 2**-26 and 2**-61
_EXPM1 = {
    DType.F32: (
        0.5,
        0.16666531562805176,
        0.04166616126894951,
        0.008367986418306828,
        0.0013972312444821,
    ),
    DType.F64: (
        0.5,
        0.16666666666666677,
        0.041666666666666685,
        0.008333333333321832,
        0.0013888888888895902,
        0.0001984126988516163,
        2.48015872674953e-05,
        2.7557245295165246e-06,
        2.7557345471728927e-07,
        2.510867096159361e-08,
        2.0887239700043364e-09,
    ),
}
# (2**r - 1) / r on |r| <= 0.5; relative error of 2**r: 2**-26 and 2**-55
_EXP2 = {
    DType.F32: (
        0.6931471824645996,
        0.24022594094276428,
        0.055503662675619125,
        0.009625357575714588,
        0.0013387553626671433,
        0.00013373595720622689,
    ),
    DType.F64: (
        0.6931471805599453,
        0.24022650695910172,
        0.055504108664824574,
        0.009618129107577032,
        0.001333355814556767,
        0.00015403530478986334,
        1.5252734737122091e-05,
        1.3215424314944797e-06,
        1.0177676565246996e-07,
        7.075687911185925e-09,
        4.511090935135049e-10,
    ),
}
# where the result is infinite, and where it is zero (exp, exp2) or -1 (expm1)
_EXP_ENDS = {DType.F32: (89.0, -105.0), DType.F64: (710.0, -746.0)}
_EXP2_ENDS = {DType.F32: (129.0, -151.0), DType.F64: (1025.0, -1076.0)}
_MINUS_ONE = {DType.F32: -20.0, DType.F64: -40.0}


def reduced(x: Number) -> tuple[Number, Number]:
    """`k` and `r` of `x = k ln 2 + r`.

    The first product-and-sum is exact: the result is a multiple of the last bit of its terms and
    below 1/2.
    """
    k, _ = nearest(x, 1 / log(2))
    high, low = LN2[x.dtype]
    return k, k.fma(-low, k.fma(-high, x))


def expm1_of_rest(r: Number) -> Number:
    """`exp(r) - 1` for |r| <= ln 2 / 2."""
    return (r * r).fma(polynomial(r, _EXPM1[r.dtype]), r)


def exp2_of_rest(r: Number) -> Number:
    """`2**r` for |r| <= 1/2."""
    return r.fma(polynomial(r, _EXP2[r.dtype]), 1)


def half_exp(x: Number) -> Number:
    """`exp(x) / 2` for x >= 0; infinite only where that is."""
    k, r = reduced(at_most(x, _EXP_ENDS[x.dtype][0] + 1))
    return scaled(expm1_of_rest(r) + 1, k - 1)


def expm1_from_zero(x: Number, end: float) -> Number:
    """`exp(x) - 1` for x from 0 to `end`, where exp is finite; as if `end` beyond."""
    k, r = reduced(at_most(x, end))
    power = power_of_two(k)
    return expm1_of_rest(r).fma(power, power - 1)


def exp(x: Number) -> Number:
    """The exponential."""
    high, low = _EXP_ENDS[x.dtype]
    k, r = reduced(at_least(at_most(x, high), low))
    return scaled(expm1_of_rest(r) + 1, k)


def exp2(x: Number) -> Number:
    """Two to the power of x."""
    high, low = _EXP2_ENDS[x.dtype]
    x = at_least(at_most(x, high), low)
    k, _ = nearest(x)
    return scaled(exp2_of_rest(x - k), k)


def expm1(x: Number) -> Number:
    """The exponential minus one."""
    high, _ = _EXP_ENDS[x.dtype]
    k, r = reduced(at_least(at_most(x, high), _MINUS_ONE[x.dtype]))
    rest = expm1_of_rest(r)
    # 2**k is infinite before the result is: half of it is not
    half = power_of_two(k - 1)
    result = rest.fma(half, half - 0.5) * 2
    # halves of subnormals round
    return choose(k.equals(0), rest, result).with_sign_of(x)
