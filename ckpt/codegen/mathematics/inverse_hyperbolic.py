"""Inverse hyperbolic functions, by log1p: arcsinh, arccosh, arctanh.

For large x, `x + √(x² ± 1)` is 2 x, whose logarithm is `log1p(x) + log 2`: squares do not
overflow, and the 1 does not matter.
"""

from math import nan

from ckpt.codegen.mathematics.logarithm import log1p_times
from ckpt.codegen.mathematics.number import Number, choose
from ckpt.ir.types import DType

_LARGE = {DType.F32: 2.0**28, DType.F64: 2.0**60}


def _log1p_or_double(u: Number, x: Number) -> Number:
    """`log1p(u)`, or log(2 x) where x is large."""
    large = x > _LARGE[x.dtype]
    return log1p_times(choose(large, x, u), choose(large, x.like(1), 0))


def arcsinh(x: Number) -> Number:
    """The inverse hyperbolic sine: `x + √(x² + 1) = 1 + (x + x² / (1 + √(x² + 1)))`."""
    size = abs(x)
    square = size * size
    u = size + square / ((square + 1).sqrt() + 1)
    return _log1p_or_double(u, size).with_sign_of(x)


def arccosh(x: Number) -> Number:
    """The inverse hyperbolic cosine: `x + √(x² - 1) = 1 + (t + √(t (t + 2)))`, `t = x - 1`."""
    t = x - 1
    u = t + (t * (t + 2)).sqrt()
    return choose(x < 1, nan, _log1p_or_double(u, x))


def arctanh(x: Number) -> Number:
    """The inverse hyperbolic tangent: half the logarithm of `(1 + x) / (1 - x)`."""
    size = abs(x)
    return (log1p_times(size * 2 / (1 - size)) * 0.5).with_sign_of(x)
