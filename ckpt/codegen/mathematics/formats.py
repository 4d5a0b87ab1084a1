"""IEEE 754 formats by their bits: powers of two, exponents, rounding to whole numbers.

Processors with AVX2 have no vector instruction between f64 and i64. Adding 1.5 * 2**digits to a
small number leaves its nearest whole number in the low bits of the sum, which does the same.
"""

from dataclasses import dataclass

from ckpt.codegen.mathematics.number import Number, choose
from ckpt.ir.types import DType


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format.

    Attributes:
        bits: the integer dtype of the same size.
        digits: bits of the fraction.
        bias: what is added to an exponent to store it.
    """

    bits: DType
    digits: int
    bias: int

    @property
    def whole(self) -> float:
        """Added to a number, it rounds to a whole one."""
        return 1.5 * 2.0**self.digits

    @property
    def one(self) -> int:
        """The bits of 1."""
        return self.bias << self.digits

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


FORMATS = {DType.F32: Format(DType.I32, 23, 127), DType.F64: Format(DType.I64, 52, 1023)}
_ROOT_HALF_BITS = {DType.F32: 0x3F3504F3, DType.F64: 0x3FE6A09E667F3BCD}


def format_of(x: Number) -> Format:
    """The format of a float."""
    return FORMATS[x.dtype]


def bits(x: Number) -> Number:
    """The bits of a float as an integer."""
    return x.reinterpret(format_of(x).bits)


def is_negative(x: Number) -> Number:
    """A mask: the sign bit is set, also that of -0 and NaN."""
    return bits(x) < 0


def nearest(x: Number, factor: float = 1.0) -> tuple[Number, Number]:
    """The whole number nearest to `x * factor`, as a float, and as an integer in low bits.

    The size of the result must stay below 2**(digits - 1); the integer is right modulo
    2**(digits - 1).
    """
    whole = format_of(x).whole
    moved = x + whole if factor == 1.0 else x.fma(factor, whole)
    return moved - whole, bits(moved)


def power_of_two(k: Number) -> Number:
    """2**k of a whole number in a float, for exponents of normal numbers."""
    f = format_of(k)
    return (bits(k + (f.whole + f.bias)) << f.digits).reinterpret(k.dtype)


def scaled(x: Number, k: Number) -> Number:
    """`x * 2**k` rounded once, for x near 1: k may lead to infinity, subnormals and zero."""
    half, _ = nearest(k, 0.5)
    return x * power_of_two(half) * power_of_two(k - half)


def split(x: Number) -> tuple[Number, Number]:
    """`m` in [√½, √2) and whole `e` with `x = m * 2**e`, for positive finite x."""
    f = format_of(x)
    tiny = x < f.smallest
    shift = f.digits + 2
    m, e = split_normal(choose(tiny, x * 2.0**shift, x))
    return m, choose(tiny, e - shift, e)


def split_normal(x: Number) -> tuple[Number, Number]:
    """`split` of numbers that are not subnormal.

    The exponent is taken after adding what lies between √½ and 1, so that it changes at √½.
    """
    f = format_of(x)
    field = (bits(x) + (f.one - _ROOT_HALF_BITS[x.dtype])) >> f.digits
    m = (bits(x) - ((field << f.digits) - f.one)).reinterpret(x.dtype)
    # a small whole number, put into the fraction of 2**digits
    large = (f.bias + f.digits) << f.digits
    e = (field | large).reinterpret(x.dtype) - (2.0**f.digits + f.bias)
    return m, e


def at_most(x: Number, high: float) -> Number:
    """The smaller of the two; NaN stays."""
    return choose(x > high, high, x)


def at_least(x: Number, low: float) -> Number:
    """The larger of the two; NaN stays."""
    return choose(x < low, low, x)
