"""Logarithms: log, log2, log10, log1p.

`x = m 2**e` with m in [√½, √2), so that `log(x) = e ln 2 + log(1 + f)` with `f = m - 1`. With
`s = f / (2 + f)`, `log(1 + f) = 2 artanh(s)`, odd in s; as `2 s = f - s f` and `f**2 / 2 =
s (f + f**2 / 2)`, it is `f - (h - s (h + R))` with `h = f**2 / 2` and `R = 2 artanh(s) / s - 2`:
the exact f is the main term, and what is rounded is small.
"""

from math import inf, nan

from ckpt.codegen.mathematics.exponential import LN2
from ckpt.codegen.mathematics.formats import power_of_two, split, split_normal
from ckpt.codegen.mathematics.number import Number, choose, polynomial
from ckpt.ir.types import DType

# (2 artanh(s) - 2 s) / s**3 in s**2 for s up to (√2 - 1) / (√2 + 1); relative error of artanh:
# 2**-30 and 2**-60
_ARTANH = {
    DType.F32: (0.6666677594184875, 0.39977580308914185, 0.29871004819869995),
    DType.F64: (
        0.6666666666666734,
        0.39999999999416497,
        0.28571428742112576,
        0.22222198590656136,
        0.1818356388354767,
        0.15314051730012646,
        0.14796026218730438,
    ),
}
_LOG2_E = {
    DType.F32: (1.4426950216293335, 1.925963033500011e-08),
    DType.F64: (1.4426950408889634, 2.0355273740931033e-17),
}
_LOG10_E = {
    DType.F32: (0.4342944920063019, -1.0103049952192578e-08),
    DType.F64: (0.4342944819032518, 1.098319650216765e-17),
}
_LOG10_2 = {
    DType.F32: (0.3010300099849701, -1.432098883924482e-08),
    DType.F64: (0.3010299956639812, -2.8037281277851704e-18),
}


def _parts(f: Number) -> tuple[Number, Number]:
    """`h` and `s (h + R)` of log(1 + f)."""
    s = f / (f + 2)
    z = s * s
    h = f * f * 0.5
    return h, s * (z.fma(polynomial(z, _ARTANH[f.dtype]), h))


def _natural(f: Number, e: Number) -> Number:
    """`log(1 + f) + e ln 2`."""
    high, low = LN2[f.dtype]
    h, small = _parts(f)
    return e.fma(high, f - (h - e.fma(low, small)))


def _with_edges(x: Number, result: Number) -> Number:
    """The result of log(x), with what belongs at the edges: inf, NaN, zero and below."""
    result = choose(x < inf, result, x)
    return choose(x > 0, result, choose(x.equals(0), x.like(-inf), nan))


def log(x: Number) -> Number:
    """The natural logarithm."""
    m, e = split(x)
    return _with_edges(x, _natural(m - 1, e))


def _two_numbers(f: Number, factor: tuple[float, float]) -> tuple[Number, Number]:
    """`log(1 + f) * factor` as the sum of two numbers."""
    h, small = _parts(f)
    high = f - h
    low = ((f - high) - h) + small
    product = high * factor[0]
    rest = high.fma(factor[0], -product)
    return product, high.fma(factor[1], low.fma(factor[0], rest))


def log2(x: Number) -> Number:
    """The logarithm to base 2; whole for powers of two."""
    m, e = split(x)
    high, low = _two_numbers(m - 1, _LOG2_E[x.dtype])
    total = e + high
    return _with_edges(x, total + ((e - total) + high + low))


def log10(x: Number) -> Number:
    """The logarithm to base 10."""
    m, e = split(x)
    high, low = _two_numbers(m - 1, _LOG10_E[x.dtype])
    main, rest = _LOG10_2[x.dtype]
    product = e * main
    error = e.fma(main, -product)
    total = product + high
    small = (product - total) + high + low + e.fma(rest, error)
    return _with_edges(x, total + small)


def log1p_times(x: Number, doublings: Number | float = 0.0) -> Number:
    """`log(1 + x) + doublings * ln 2`.

    1 + x is rounded to u; what u lacks of it goes into f. For m = u, f = (u - 1) + lack is x.
    """
    u = x + 1
    back = u - 1
    lack = (1 - (u - back)) + (x - back)
    m, e = split_normal(u)
    # where u is so large that 2**-e is no normal number, the lack does not matter
    f = lack.fma(power_of_two(choose(e > 100, -100.0, -e)), m - 1)
    result = _natural(f, e + doublings)
    result = choose(u < inf, result, x)
    return choose(u > 0, result, choose(u.equals(0), x.like(-inf), nan))


def log1p(x: Number) -> Number:
    """The logarithm of 1 + x."""
    # 1 + x has no sign of zero
    return choose(x.equals(0), x, log1p_times(x))
