"""Elementary functions in higher precision than kernels have, and errors against them.

f32 is held against NumPy and SciPy in f64, f64 against NumPy in the 80-bit `longdouble` of x86
processors. SciPy's error function knows no longdouble: here it is a series and a continued
fraction.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[..., Array]

LONG = np.finfo(np.longdouble).nmant >= 63
"""Whether longdouble has the digits to judge f64."""

_PI = np.longdouble("3.14159265358979323846264338327950288")


def numpy_function(name: str) -> Function:
    """The function of an op's name, of NumPy or SciPy."""
    found = getattr(np, name, None) or getattr(scipy.special, name)
    return found if isinstance(found, np.ufunc) else np.power


def truth(name: str, *operands: Array) -> Array:
    """A function in the precision that judges the operands' dtype.

    >>> truth("sqrt", np.float32([2.0])).dtype
    dtype('float64')
    """
    wide: Any = np.float64 if operands[0].dtype == np.float32 else np.longdouble
    function = numpy_function(name)
    if wide is np.longdouble and name in ("erf", "erfc"):
        function = _erf if name == "erf" else _erfc
    with np.errstate(all="ignore"):
        return function(*(x.astype(wide) for x in operands))


def ulps(got: Array, want: Array) -> NDArray[np.float64]:
    """The error of every element in units of the last place of the true value.

    Infinity stands for the number after the largest one. NaN in both is no error, NaN in one of
    them an infinite error.

    >>> ulps(np.float32([1, np.inf, 0]), np.float64([1 + 2**-23, 1e60, 2.0**-149])).tolist()
    [1.0, 0.0, 1.0]
    """
    info, wide = np.finfo(got.dtype), want.dtype.type
    beyond = wide(info.max) * (1 + wide(info.eps) / 2)
    exact = np.clip(want, -beyond, beyond)
    given = np.clip(got.astype(want.dtype), -beyond, beyond)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.minimum(np.abs(exact), wide(info.max) / 2).astype(got.dtype)
        place = np.spacing(near).astype(want.dtype)
        error = np.abs(given - exact) / np.where(np.abs(exact) > info.max / 2, place * 2, place)
    wrong, missing = np.isnan(got), np.isnan(want)
    error = np.where(wrong & missing, 0, error)
    return np.where(wrong != missing, np.inf, error).astype(np.float64)


def _erf_series(x: Array) -> Array:
    """`2/√π exp(-x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!`: all terms have one sign, so nothing cancels."""
    term = total = x
    for n in range(1, 150):
        term = term * (2 * x * x) / (2 * n + 1)
        total = total + term
    return total * _bell(x) * 2 / np.sqrt(_PI)


def _erfc_fraction(x: Array) -> Array:
    """`exp(-x²)/√π / (x + (1/2)/(x + 1/(x + (3/2)/(x + ...))))`, for x of at least 1."""
    rest = x
    for n in range(300, 0, -1):
        rest = x + np.longdouble(n) / 2 / rest
    return _bell(x) / rest / np.sqrt(_PI)


def _bell(x: Array) -> Array:
    """exp(-x²): x in a short part, whose square is exact, and the rest."""
    short = x.astype(np.float32).astype(np.longdouble)
    return np.exp(-short * short) * np.exp(-(x - short) * (x + short))


def _erf(x: Array) -> Array:
    size = np.abs(x)
    near = _erf_series(np.minimum(size, 2))
    far = 1 - _erfc_fraction(np.clip(size, 2, 50))
    return np.where(np.isnan(x), x, np.copysign(np.where(size < 2, near, far), x))


def _erfc(x: Array) -> Array:
    size = np.abs(x)
    # the difference loses three bits of the eleven that longdouble has more
    near = 1 - _erf_series(np.minimum(size, 1))
    result = np.where(size < 1, near, _erfc_fraction(np.clip(size, 1, 200)))
    return np.where(np.isnan(x), x, np.where(x < 0, 2 - result, result))
