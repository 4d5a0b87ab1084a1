"""Elementary functions as straight-line arithmetic, which LLVM makes vector instructions of.

Each function is a program over the machine operations of `ckpt.codegen.machine`, so that the
LLVM and the numba printer make the same bits, as do vector bodies and remainders of loops, and
every processor: products and sums are fused where `fma` says so and nowhere else (a processor
without that instruction calls a slow function for it). Nothing branches, but for sines beyond
the range of `trigonometric`, where the C library is called.

    number.py                  the notation: operators that print operations
    formats.py                 bits of floats: powers of two, exponents, nearest whole numbers
    exponential.py             exp exp2 expm1
    logarithm.py               log log2 log10 log1p
    power.py                   pow
    trigonometric.py           sin cos tan
    inverse_trigonometric.py   arcsin arccos arctan arctan2
    hyperbolic.py              sinh cosh tanh
    inverse_hyperbolic.py      arcsinh arccosh arctanh
    error_function.py          erf erfc

All results are within 4 units in the last place of the true value, in f32 and f64, subnormals
included; infinities, NaN and signs of zero are NumPy's. Coefficients are minimax (Remez) fits in
200 bits, rounded one after another, each followed by a new fit of the rest.
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
