"""f16 and bf16 between memory and registers, where they are f32 that a half can hold.

Conversions are arithmetic on the bits of the f32, said once for both printers: the same bits on
processors with and without instructions for halves, and vectors like any other loop. Widening is
exact, and so is storing what was rounded; rounding is to the nearest, ties to even. NaN stays NaN;
one that is only moved keeps its bits.
"""

from ckpt.codegen.machine import Scalars, Value
from ckpt.codegen.mathematics.number import Number, choose
from ckpt.ir.types import DType

_SIGN = -(1 << 31)
_SIZE = (1 << 31) - 1
_INFINITY = 0x7F800000
_QUIET = 1 << 22
_DROPPED = {DType.F16: 13, DType.BF16: 16}
"""Bits of the fraction of f32 that a half does not have."""

# of f16, in the bits of f32
_BIAS = 112 << 23  # its exponents are so much smaller
_LEAST = 0x38800000  # the smallest normal number
_LARGEST = 0x477FE000
_HALF = 0x3F000000  # 1/2, whose last place is that of subnormal numbers


def widened(s: Scalars, stored: Value, dtype: DType) -> Value:
    """A half, from the low two bytes of an i32."""
    bits = Number(s, stored)
    if dtype is DType.BF16:
        return Value((bits << 16).reinterpret(DType.F32).value.text, dtype)
    size = bits & 0x7FFF
    moved = size << _DROPPED[dtype]
    small = ((size | _HALF).reinterpret(DType.F32) - 0.5).reinterpret(DType.I32)
    large = choose(size < 0x7C00, moved + _BIAS, moved + 2 * _BIAS)
    sized = choose(size < 0x400, small, large)
    return Value((sized | (bits << 16 & _SIGN)).reinterpret(DType.F32).value.text, dtype)


def rounded(s: Scalars, x: Value, dtype: DType) -> Value:
    """The half nearest to an f32."""
    number = Number(s, x)
    bits = number.reinterpret(DType.I32)
    low = (1 << _DROPPED[dtype]) - 1
    odd = bits >> _DROPPED[dtype] & 1
    if dtype is DType.BF16:
        near = choose(number.differs(number), bits | _QUIET, bits + odd + (low >> 1)) & ~low
        return Value(near.reinterpret(DType.F32).value.text, dtype)
    size = bits & _SIZE
    near = size + odd + (low >> 1) & ~low
    near = choose(near > _LARGEST, _INFINITY, near)
    small = (abs(number) + 0.5 - 0.5).reinterpret(DType.I32)
    sized = choose(size < _LEAST, small, near)
    sized = choose(size > _INFINITY, (size | _QUIET) & ~low, sized)
    return Value((sized | (bits & _SIGN)).reinterpret(DType.F32).value.text, dtype)


def stored(s: Scalars, x: Value) -> Value:
    """The two bytes of a half, in the low ones of an i32."""
    number = Number(s, Value(x.text, DType.F32))
    bits = number.reinterpret(DType.I32)
    if x.dtype is DType.BF16:
        return (bits >> 16).value
    size, dropped = bits & _SIZE, _DROPPED[x.dtype]
    small = (abs(number) + 0.5).reinterpret(DType.I32) - _HALF
    large = choose(size < _INFINITY, size - _BIAS, size - 2 * _BIAS) >> dropped
    return (choose(size < _LEAST, small, large) | (bits >> 16 & 0x8000)).value


def as_f32(x: Value) -> Value:
    """A half in registers as the f32 that it is; others as they are."""
    return Value(x.text, x.dtype.wide)


def converted(s: Scalars, x: Value, dtype: DType) -> Value:
    """`Scalars.cast` from or to a half, other than itself: by way of f32."""
    if x.dtype.is_half:
        return s.cast(as_f32(x), dtype)
    return rounded(s, s.cast(x, DType.F32), dtype)
