"""Comparisons, logic, bits and rounding: elementwise ops whose derivative is zero."""

from typing import ClassVar

from ckpt.ir.op import Constant, primitive
from ckpt.ir.types import DType
from ckpt.ops.elementwise import ALL, BITS, BOOLS, INTEGERS, NUMBERS, Elementwise


class _Compare(Constant, Elementwise):
    """a[*s], a[*s] -> bool[*s]."""

    __slots__ = ()
    accepts: ClassVar[tuple[DType, ...]] = ALL
    arity: ClassVar[int] = 2
    returns: ClassVar[DType | None] = DType.BOOL
    domain: ClassVar[tuple[float, float]] = (-2.0, 2.0)


@primitive
class Equal(_Compare):
    """Whether elements are equal; false for NaN.   a[*s], a[*s] -> bool[*s]."""

    numpy = "equal"


@primitive
class NotEqual(_Compare):
    """Whether elements differ; true for NaN.   a[*s], a[*s] -> bool[*s]."""

    numpy = "not_equal"


@primitive
class Less(_Compare):
    """Whether the first is less; false for NaN.   a[*s], a[*s] -> bool[*s]."""

    numpy = "less"


@primitive
class LessEqual(_Compare):
    """Whether the first is less or equal; false for NaN.   a[*s], a[*s] -> bool[*s]."""

    numpy = "less_equal"


@primitive
class Greater(_Compare):
    """Whether the first is greater; false for NaN.   a[*s], a[*s] -> bool[*s]."""

    numpy = "greater"


@primitive
class GreaterEqual(_Compare):
    """Whether the first is greater or equal; false for NaN.   a[*s], a[*s] -> bool[*s]."""

    numpy = "greater_equal"


@primitive
class LogicalNot(Constant, Elementwise):
    """Negation of truth.   bool[*s] -> bool[*s]."""

    numpy = "logical_not"
    accepts = BOOLS


@primitive
class LogicalAnd(Constant, Elementwise):
    """Whether both are true.   bool[*s], bool[*s] -> bool[*s]."""

    numpy = "logical_and"
    accepts = BOOLS
    arity = 2


@primitive
class LogicalOr(Constant, Elementwise):
    """Whether at least one is true.   bool[*s], bool[*s] -> bool[*s]."""

    numpy = "logical_or"
    accepts = BOOLS
    arity = 2


@primitive
class LogicalXor(Constant, Elementwise):
    """Whether exactly one is true.   bool[*s], bool[*s] -> bool[*s]."""

    numpy = "logical_xor"
    accepts = BOOLS
    arity = 2


@primitive
class Invert(Constant, Elementwise):
    """Every bit flipped; truth negated.   i32[*s] -> i32[*s]."""

    numpy = "invert"
    accepts = BITS
    domain = (-5.0, 5.0)


@primitive
class BitwiseAnd(Constant, Elementwise):
    """Bits set in both.   i32[*s], i32[*s] -> i32[*s]."""

    numpy = "bitwise_and"
    accepts = BITS
    arity = 2
    domain = (-5.0, 5.0)


@primitive
class BitwiseOr(Constant, Elementwise):
    """Bits set in at least one.   i32[*s], i32[*s] -> i32[*s]."""

    numpy = "bitwise_or"
    accepts = BITS
    arity = 2
    domain = (-5.0, 5.0)


@primitive
class BitwiseXor(Constant, Elementwise):
    """Bits set in exactly one.   i32[*s], i32[*s] -> i32[*s]."""

    numpy = "bitwise_xor"
    accepts = BITS
    arity = 2
    domain = (-5.0, 5.0)


@primitive
class ShiftLeft(Constant, Elementwise):
    """Bits moved up; 0 for counts outside the width.   i32[*s], i32[*s] -> i32[*s]."""

    numpy = "left_shift"
    accepts = INTEGERS
    arity = 2
    domain = (-2.0, 70.0)


@primitive
class ShiftRight(Constant, Elementwise):
    """Bits moved down with the sign; all sign for counts outside the width.

    i32[*s], i32[*s] -> i32[*s].
    """

    numpy = "right_shift"
    accepts = INTEGERS
    arity = 2
    domain = (-2.0, 70.0)


@primitive
class Isnan(Constant, Elementwise):
    """Whether elements are NaN.   f32[*s] -> bool[*s]."""

    numpy = "isnan"
    returns = DType.BOOL


@primitive
class Isinf(Constant, Elementwise):
    """Whether elements are infinite.   f32[*s] -> bool[*s]."""

    numpy = "isinf"
    returns = DType.BOOL


@primitive
class Isfinite(Constant, Elementwise):
    """Whether elements are neither infinite nor NaN.   f32[*s] -> bool[*s]."""

    numpy = "isfinite"
    returns = DType.BOOL


@primitive
class Sign(Constant, Elementwise):
    """-1, 0 or 1 by the sign; NaN stays NaN.   f32[*s] -> f32[*s]."""

    numpy = "sign"
    accepts = NUMBERS
    domain = (-5.0, 5.0)


@primitive
class Floor(Constant, Elementwise):
    """Round down.   f32[*s] -> f32[*s]."""

    numpy = "floor"
    domain = (-3.0, 3.0)


@primitive
class Ceil(Constant, Elementwise):
    """Round up.   f32[*s] -> f32[*s]."""

    numpy = "ceil"
    domain = (-3.0, 3.0)


@primitive
class Rint(Constant, Elementwise):
    """Round to the nearest, ties to even.   f32[*s] -> f32[*s]."""

    numpy = "rint"
    domain = (-3.0, 3.0)


@primitive
class Trunc(Constant, Elementwise):
    """Round towards zero.   f32[*s] -> f32[*s]."""

    numpy = "trunc"
    domain = (-3.0, 3.0)
