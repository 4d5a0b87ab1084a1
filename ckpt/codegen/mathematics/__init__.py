"""Elementary functions as straight-line arithmetic, of which LLVM makes vector instructions.

Each function is a program over the machine operations of `ckpt.codegen.machine`, so that the
LLVM and the numba printer make the same bits, as do vector bodies and remainders of loops, and
every processor: product and sum are one operation where `fma` says so and nowhere else (a
processor without it calls a slow function). Nothing branches, but for angles beyond the range of
`trigonometric`, where the C library is called.

    number.py                  the notation: operators that print operations
    formats.py                 bits of floats: powers of two, exponents, nearest whole numbers

                               and the largest errors seen, in units of the last place (f32 / f64)
    exponential.py             exp 1.1 / 1.0, exp2 1.0 / 1.0, expm1 1.6 / 1.9
    logarithm.py               log 0.8 / 0.8, log2 0.8 / 0.8, log10 0.7 / 0.7, log1p 1.4 / 1.4
    power.py                   pow 0.6 / 1.1
    trigonometric.py           sin 1.5 / 1.5, cos 1.6 / 1.5, tan 3.0 / 2.9
    inverse_trigonometric.py   arcsin 2.4 / 2.3, arccos 1.2 / 1.2, arctan, arctan2 1.9 / 1.9
    hyperbolic.py              sinh 1.7 / 1.7, cosh 1.5 / 1.5, tanh 2.6 / 2.6
    inverse_hyperbolic.py      arcsinh 1.8 / 1.8, arccosh 2.5 / 2.6, arctanh 2.1 / 2.0
    error_function.py          erf 1.1 / 1.1, erfc 3.0 / 3.3

The bound that tests hold is `ULPS` for all, subnormal results included; infinities, NaN and signs
of zero are NumPy's. Coefficients are minimax (Remez) fits in 200 bits; where it pays they were
rounded one after another, each time with a new fit of the rest.
"""

from collections.abc import Callable

from ckpt.codegen.machine import Rule
from ckpt.codegen.mathematics.error_function import erf, erfc
from ckpt.codegen.mathematics.exponential import exp, exp2, expm1
from ckpt.codegen.mathematics.hyperbolic import cosh, sinh, tanh
from ckpt.codegen.mathematics.inverse_hyperbolic import arccosh, arcsinh, arctanh
from ckpt.codegen.mathematics.inverse_trigonometric import arccos, arcsin, arctan, arctan2
from ckpt.codegen.mathematics.logarithm import log, log1p, log2, log10
from ckpt.codegen.mathematics.number import Number
from ckpt.codegen.mathematics.power import power
from ckpt.codegen.mathematics.trigonometric import cos, sin, tan

ULPS = 4
"""Units in the last place by which a result may differ from the true value."""

RARE = frozenset({"sin", "cos", "tan"})
"""The functions that hand some elements to the C library."""


def _one(function: Callable[[Number], Number]) -> Rule:
    return lambda s, _, v: function(Number(s, v[0])).value


def _two(function: Callable[[Number, Number], Number]) -> Rule:
    return lambda s, _, v: function(Number(s, v[0]), Number(s, v[1])).value


FUNCTIONS: dict[str, Rule] = {
    **{
        f.__name__: _one(f)
        for f in (
            *(exp, exp2, expm1, log, log2, log10, log1p),
            *(sin, cos, tan, arcsin, arccos, arctan),
            *(sinh, cosh, tanh, arcsinh, arccosh, arctanh),
            *(erf, erfc),
        )
    },
    "arctan2": _two(arctan2),
    "pow": _two(power),
}
"""Every function, by the name of its op; `pow` of floats only."""
