"""Elementary functions in higher precision than the kernels', and errors in units of the last place.

f32 is held against NumPy and SciPy in f64, f64 against NumPy in the 80-bit `longdouble` of x86
processors. SciPy's error function knows no longdouble: here it is a series and a continued
fraction.
"""

import numpy as np
import scipy.special

LONG = np.finfo(np.longdouble).nmant >= 63
"""Whether longdouble has the digits to judge f64."""


def reference(name, dtype):
    """The function in the precision that judges a dtype, from arrays of the dtype."""
    wide = np.float64 if dtype == np.float32 else np.longdouble
    function = _LONG_ERROR_FUNCTIONS.get(name) if wide is np.longdouble else None
    function = function or getattr(np, name, None) or getattr(scipy.special, name)

    def judge(*xs):
        with np.errstate(all="ignore"):
            return function(*(x.astype(wide) for x in xs))

    return judge


def ulps(got, want):
    """The error of every element, in units of the last place of the true value.

    Infinity stands for the number after the largest; NaN and the same infinity are no error, NaN
    where a number should be (or the other way) is an infinite one.
    """
    wide = want.dtype.type
    info = np.finfo(got.dtype)
    beyond = wide(info.max) * (1 + wide(info.eps) / 2)
    exact = np.clip(want, -beyond, beyond)
    given = np.clip(got.astype(want.dtype), -beyond, beyond)
    place = np.spacing(np.minimum(np.abs(exact).astype(got.dtype), info.max)).astype(want.dtype)
    with np.errstate(invalid="ignore"):
        error = np.abs(given - exact) / place
    nans = np.isnan(got), np.isnan(want)
    error = np.where(nans[0] & nans[1], 0, error)
    return np.where(nans[0] != nans[1], np.inf, error).astype(np.float64)


def _erf_series(x):
    """`2/√π exp(-x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!`: all terms positive, so nothing cancels."""
    term = total = x
    for n in range(1, 150):
        term = term * (2 * x * x) / (2 * n + 1)
        total = total + term
    return total * _exp_minus_square(x) * 2 / np.sqrt(_PI)


def _erfc_fraction(x):
    """`exp(-x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...))))`, for x of at least 2."""
    rest = x
    for n in range(200, 0, -1):
        rest = x + np.longdouble(n) / 2 / rest
    return _exp_minus_square(x) / rest / np.sqrt(_PI)


def _exp_minus_square(x):
    """exp(-x²): x in a short part, whose square is exact, and the rest."""
    short = x.astype(np.float32).astype(np.longdouble)
    return np.exp(-short * short) * np.exp(-(x - short) * (x + short))


def _erf(x):
    size = np.abs(x)
    near = _erf_series(np.minimum(size, 2))
    return np.copysign(np.where(size < 2, near, 1 - _erfc_fraction(np.clip(size, 2, 50))), x)


def _erfc(x):
    size = np.abs(x)
    # below 1/2 the complement is as exact as the series; up to 2 it loses eight bits of eleven
    far = _erfc_fraction(np.clip(size, 1, 200))
    result = np.where(size < 1, 1 - _erf_series(np.minimum(size, 1)), far)
    result = np.where(np.isinf(size), 0, result)
    return np.where(np.isnan(x), x, np.where(x < 0, 2 - result, result))


_PI = np.longdouble("3.14159265358979323846264338327950288")
_LONG_ERROR_FUNCTIONS = {"erf": _erf, "erfc": _erfc}
