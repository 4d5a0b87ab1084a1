"""The power of a float.

`x**y = 2**(y log2 |x|)`. The product may reach 1075, so that the logarithm must be known to
2**-64 of itself: for f64 it is the sum of two numbers, for f32 an f64.

Source: Dekker. A floating-point technique for extending the available precision. Numerische
Mathematik, 1971 (arithmetic on pairs of numbers; the products here by fma).
"""

from collections.abc import Callable
from math import inf, nan

from ckpt.codegen.mathematics.exponential import exp2_of_rest
from ckpt.codegen.mathematics.formats import (
    at_least,
    at_most,
    is_negative,
    nearest,
    power_of_two,
    scaled,
    split,
    split_normal,
)
from ckpt.codegen.mathematics.number import Number, choose, polynomial
from ckpt.ir.types import DType

Pair = tuple[Number, Number]
"""A number as the sum of two, the second at most about the last bit of the first."""

# 2/3 as a pair; then the rest of (2 artanh(s) - 2 s) / s**3 by s**2, for s up to
# (√2 - 1) / (√2 + 1); relative error of artanh: 2**-66
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
_ARTANH = (
    0.40000000000002256,
    0.2857142857009935,
    0.22222222520008814,
    0.18181784355750255,
    0.15386758023361177,
    0.13256797937747852,
    0.13196544806468022,
)
_LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
# for f32, in f64: (2 artanh(s) - 2 s) / s**3 (relative error of artanh: 2**-38), and
# (2**r - 1) / r (relative error of 2**r: 2**-34)
_SHORT_ARTANH = (
    0.6666666564662916,
    0.4000033511818081,
    0.2853730415714197,
    0.2358236620540817,
)
_SHORT_EXP2 = (
    0.69314718070348,
    0.24022651067780743,
    0.05550410372285238,
    0.00961803796297772,
    0.0013333928591220102,
    0.00015466818068787116,
    1.5198072639347019e-05,
)
_END = 1100.0
"""Beyond this exponent, f64 overflows or underflows, and f32 all the more."""


def power(x: Number, y: Number) -> Number:
    """`x**y`."""
    if x.dtype is DType.F32:
        wide = x.cast(DType.F64), y.cast(DType.F64)
        return _signed(_short_size, *wide).cast(DType.F32)
    return _signed(_size, x, y)


def _signed(size_of: Callable[[Number, Number], Number], x: Number, y: Number) -> Number:
    """The power from `size_of(|x|, y)`, which is right where |x| is not 1 and y not 0."""
    size = abs(x)
    result = size_of(size, y)
    whole = y.floor()
    half = y * 0.5
    odd = whole.equals(y) & half.floor().differs(half)
    result = choose(is_negative(x) & odd, -result, result)
    result = choose((x < 0) & (x > -inf) & whole.differs(y), nan, result)
    one = y.equals(0) | x.equals(1) | (size.equals(1) & abs(y).equals(inf))
    return choose(one, 1, result)


def _with_ends(x: Number, log2: Number) -> Number:
    """A logarithm that is also right for 0, infinity and NaN."""
    return choose(x > 0, choose(x < inf, log2, x), choose(x.equals(0), x.like(-inf), nan))


def _short_size(x: Number, y: Number) -> Number:
    """`x**y` for f32 in f64."""
    m, e = split_normal(x)
    f = m - 1
    s = f / (m + 1)
    z = s * s
    log = s * z.fma(polynomial(z, _SHORT_ARTANH), 2)
    exponent = y * _with_ends(x, log.fma(_LOG2_E[0], e))
    exponent = at_least(at_most(exponent, 300), -300)
    k, _ = nearest(exponent)
    r = exponent - k
    return r.fma(polynomial(r, _SHORT_EXP2), 1) * power_of_two(k)


def _size(x: Number, y: Number) -> Number:
    """`x**y` for f64."""
    high, low = _log2(x)
    exponent, rest = _product(_with_ends(x, high), y)
    rest = choose(abs(exponent) < _END, y.fma(low, rest), 0)
    exponent = at_least(at_most(exponent, _END), -_END)
    k, _ = nearest(exponent)
    return scaled(exp2_of_rest((exponent - k) + rest), k)


def _log2(x: Number) -> Pair:
    """log2 of a positive finite x."""
    m, e = split(x)
    f = m - 1
    below = _sum(m.like(1), m)
    # s = f / (m + 1): the quotient, then what is left over divided
    s = f / below[0]
    left = s.fma(-below[0], f)
    pair = s, s.fma(-below[1], left) / below[0]
    z = _times(pair, pair)
    factor = _sum(s.like(_TWO_THIRDS[0]), z[0] * polynomial(z[0], _ARTANH))
    factor = factor[0], factor[1] + _TWO_THIRDS[1]
    cube = _times(_times(pair, z), factor)
    log = _sum(pair[0] * 2, cube[0])
    log = log[0], pair[1].fma(2, log[1] + cube[1])
    scale = s.like(_LOG2_E[0]), s.like(_LOG2_E[1])
    high, low = _times(log, scale)
    total = _sum(e, high)
    return total[0], total[1] + low


def _sum(x: Number, y: Number) -> Pair:
    """The exact sum, where the exponent of x is at least that of y, or x is zero."""
    total = x + y
    return total, y - (total - x)


def _product(x: Number, y: Number) -> Pair:
    """The exact product of two numbers."""
    high = x * y
    return high, x.fma(y, -high)


def _times(x: Pair, y: Pair) -> Pair:
    """The product of two pairs."""
    high, low = _product(x[0], y[0])
    return _sum(high, x[0].fma(y[1], x[1].fma(y[0], low)))
