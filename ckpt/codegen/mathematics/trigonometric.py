"""Trigonometric functions: sin, cos, tan.

`x = k π/2 + r` with whole k and |r| at most π/4. π/2 is the sum of three numbers; the first
product-and-sum is exact, because its result is a multiple of the last bit of its terms and below
1, and the next two round once each. This holds up to `REDUCED`; beyond it the C library is
called, so that no element is ever less exact than it should be.
"""

from ckpt.codegen.mathematics.formats import bits, format_of, nearest
from ckpt.codegen.mathematics.number import Number, choose, polynomial
from ckpt.ir.types import DType

REDUCED = {DType.F32: 2.0**15, DType.F64: 2.0**30}
"""The largest |x| that is not handed to the C library."""

_HALF_PI = {
    DType.F32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    DType.F64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
# (sin(r) - r) / r**3 in r**2 for |r| <= 1.003 π/4 (k may be the second nearest by a little);
# relative error of sin: 2**-28 and 2**-58
_SIN = {
    DType.F32: (-0.16666653752326965, 0.008332106284797192, -0.00019507897377479821),
    DType.F64: (
        -0.1666666666666663,
        0.00833333333332182,
        -0.00019841269829331144,
        2.7557313526348994e-06,
        -2.5050732163773153e-08,
        1.5895289379406618e-10,
    ),
}
# (cos(r) - 1 + r**2 / 2) / r**4 in r**2; relative error of cos: 2**-33 and 2**-64
_COS = {
    DType.F32: (0.04166664555668831, -0.0013887304812669754, 2.443142693664413e-05),
    DType.F64: (
        0.04166666666666659,
        -0.0013888888888872186,
        2.480158728829538e-05,
        -2.75573140151146e-07,
        2.087567808207145e-09,
        -1.135733642893873e-11,
    ),
}


def _parts(x: Number) -> tuple[Number, Number, Number]:
    """The low bits of k in an integer, sin(r) and cos(r)."""
    k, quadrant = nearest(x, 0.6366197723675814)  # 2/π
    r = x
    for part in _HALF_PI[x.dtype]:
        r = k.fma(-part, r)
    z = r * r
    sine = (r * z).fma(polynomial(z, _SIN[x.dtype]), r)
    cosine = z.fma(z.fma(polynomial(z, _COS[x.dtype]), -0.5), 1)
    return quadrant, sine, cosine


def _rare(x: Number, fast: Number, name: str) -> Number:
    far = abs(x) > REDUCED[x.dtype]
    return Number(x.s, x.s.rare(far.value, fast.value, name, x.value))


def _signed(x: Number, sign: Number) -> Number:
    """`x` with its sign changed where bit 1 of an integer is set."""
    width = format_of(x).bits.itemsize * 8
    return (bits(x) ^ ((sign & 2) << (width - 2))).reinterpret(x.dtype)


def sin(x: Number) -> Number:
    """The sine."""
    size = abs(x)
    quadrant, sine, cosine = _parts(size)
    result = _signed(choose((quadrant & 1).equals(0), sine, cosine), quadrant)
    # the sign of x times that of the result: both are found in the highest bit
    sign = bits(x) ^ bits(size)
    result = (bits(result) ^ sign).reinterpret(x.dtype)
    return _rare(x, result, "sin")


def cos(x: Number) -> Number:
    """The cosine."""
    quadrant, sine, cosine = _parts(abs(x))
    result = choose((quadrant & 1).equals(0), cosine, sine)
    return _rare(x, _signed(result, quadrant + 1), "cos")


def tan(x: Number) -> Number:
    """The tangent: sine by cosine, or in odd quadrants minus cosine by sine."""
    size = abs(x)
    quadrant, sine, cosine = _parts(size)
    even = (quadrant & 1).equals(0)
    result = choose(even, sine, -cosine) / choose(even, cosine, sine)
    sign = bits(x) ^ bits(size)
    return _rare(x, (bits(result) ^ sign).reinterpret(x.dtype), "tan")
