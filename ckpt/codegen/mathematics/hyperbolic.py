"""Hyperbolic functions, by exponentials of |x|: sinh, cosh, tanh."""

from ckpt.codegen.mathematics.exponential import expm1_from_zero, half_exp
from ckpt.codegen.mathematics.number import Number, choose, polynomial
from ckpt.ir.types import DType

# (sinh(x) - x) / x**3 in x**2 for |x| <= 1; relative error of sinh: 2**-25 and 2**-62
_SINH = {
    DType.F32: (0.1666671633720398, 0.008330270648002625, 0.00020373162988107651),
    DType.F64: (
        0.16666666666666669,
        0.008333333333332912,
        0.00019841269841593405,
        2.7557319106760768e-06,
        2.5052130997604065e-08,
        1.6056659296768522e-10,
        7.776594842776268e-13,
    ),
}
# from here on tanh rounds to 1
_ONE = {DType.F32: 10.0, DType.F64: 20.0}


def sinh(x: Number) -> Number:
    """The hyperbolic sine; below 1, where exponentials would cancel, a polynomial."""
    size = abs(x)
    z = size * size
    small = (size * z).fma(polynomial(z, _SINH[x.dtype]), size)
    half = half_exp(size)
    return choose(size < 1, small, half - 0.25 / half).with_sign_of(x)


def cosh(x: Number) -> Number:
    """The hyperbolic cosine."""
    half = half_exp(abs(x))
    return half + 0.25 / half


def tanh(x: Number) -> Number:
    """The hyperbolic tangent: `t / (t + 2)` with `t = exp(2 |x|) - 1`."""
    t = expm1_from_zero(abs(x) * 2, 2 * _ONE[x.dtype])
    return (t / (t + 2)).with_sign_of(x)
