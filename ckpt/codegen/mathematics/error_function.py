"""The error function and its complement: erf, erfc."""

from ckpt.codegen.mathematics.exponential import expm1_of_rest, reduced
from ckpt.codegen.mathematics.formats import at_most, power_of_two, scaled
from ckpt.codegen.mathematics.number import Number, choose, polynomial
from ckpt.ir.types import DType

# erf(x) / x - 1 in x**2 for |x| <= 1; relative error of erf: 2**-29 and 2**-56
_NEAR = {
    DType.F32: (
        0.12837916612625122,
        -0.3761262595653534,
        0.11283578723669052,
        -0.026853347197175026,
        0.005187162198126316,
        -0.0007997851935215294,
        7.806890789652243e-05,
    ),
    DType.F64: (
        0.12837916709551256,
        -0.37612638903183343,
        0.11283791670936949,
        -0.02686617064195855,
        0.0052239775967275375,
        -0.0008548325484418116,
        0.00012055280473547302,
        -1.4924465084424352e-05,
        1.6444142272415364e-06,
        -1.6183916117232687e-07,
        1.3616322851904549e-08,
        -7.607008985446394e-10,
    ),
}
# -log(erfc(x)) for x from 1 to _ONE; error of erf, relative: 2**-30 and 2**-58
_TAIL = {
    DType.F32: (
        0.00034158589551225305,
        1.1270889043807983,
        0.638145387172699,
        0.10310616344213486,
        -0.02183769829571247,
        0.0029475349001586437,
        -0.00018636180902831256,
    ),
    DType.F64: (
        1.796379036780242e-07,
        1.128377329081232,
        0.6366284898021459,
        0.1027472494626399,
        -0.019078149372809893,
        -0.0002804984804885866,
        0.001769012208105949,
        -0.0006411830776245592,
        4.482970259463423e-05,
        7.036269814530924e-05,
        -4.50357245451349e-05,
        1.6513422250377302e-05,
        -4.3269299130771465e-06,
        8.505604690993994e-07,
        -1.2570510669685177e-07,
        1.3627107822548614e-08,
        -1.0257754793366105e-09,
        4.796684046774428e-11,
        -1.0498529929659821e-12,
    ),
}
# from here on erf rounds to 1
_ONE = {DType.F32: 4.0, DType.F64: 6.0}
# from here on erfc rounds to 0
_ZERO = {DType.F32: 10.1, DType.F64: 27.3}
# erfc(x) exp(x**2) / t for x from 1/2 to _ZERO, in a t + b with t = 1 / (1 + c x), which runs
# from -1 to 1; relative error: 2**-25 and 2**-54
_MAPPING = {DType.F32: (0.4, 3.148, -1.624), DType.F64: (0.3, 2.629, -1.286)}
_FAR = {
    DType.F32: (
        0.43202245235443115,
        0.21194718778133392,
        0.07594878226518631,
        0.017926696687936783,
        0.0017564378213137388,
        -0.00038426631363108754,
        -0.000122871802886948,
        9.09780283109285e-06,
        6.244598807825241e-06,
    ),
    DType.F64: (
        0.31907679099270314,
        0.20393231952825633,
        0.11066417612186136,
        0.05013506981476008,
        0.018347873868077097,
        0.005053484579123752,
        0.00084850933784243,
        -1.4760376105163946e-05,
        -5.158133190474708e-05,
        -9.694688562957403e-06,
        1.826313114316613e-06,
        9.606340659450617e-07,
        -3.5398473372595214e-08,
        -8.166777244991203e-08,
        -1.6198449472175789e-09,
        7.258269460387336e-09,
        2.417282664387847e-10,
        -6.569816820599235e-10,
        -1.2112872955179404e-11,
        4.3958801569452293e-11,
    ),
}


def erf(x: Number) -> Number:
    """The error function: near zero an odd polynomial, elsewhere `1 - exp(-q(|x|))`."""
    size = abs(x)
    near = size.fma(polynomial(size * size, _NEAR[x.dtype]), size)
    q = polynomial(at_most(size, _ONE[x.dtype]), _TAIL[x.dtype])
    k, r = reduced(-q)
    far = 1 - (expm1_of_rest(r) + 1) * power_of_two(k)
    return choose(size < 1, near, far).with_sign_of(x)


def erfc(x: Number) -> Number:
    """One minus the error function: `exp(-x**2) t P(a t + b)`, and 2 minus that below zero.

    Near zero it is the difference. The square is rounded; its error goes into the rest of exp.

    Source: Shepherd, Laframboise. Chebyshev Approximation of (1 + 2x) exp(x²) erfc x in
    0 <= x < ∞. Mathematics of Computation, 1981 (the idea of the mapping; our fit is another).
    """
    near = (0.5 - x) + (-x).fma(polynomial(x * x, _NEAR[x.dtype]), 0.5)
    size = at_most(abs(x), _ZERO[x.dtype])
    c, a, b = _MAPPING[x.dtype]
    below = size.fma(c, 1)
    t = 1 / below
    # what t lacks, because the sum below was rounded and the quotient was
    lack = t * (below.fma(-t, 1) - t * size.fma(c, 1 - below))
    p = polynomial(lack.fma(a, t.fma(a, b)), _FAR[x.dtype])
    slow = t * p
    rest = lack.fma(p, t.fma(p, -slow))
    square = size * size
    error = size.fma(size, -square)
    k, r = reduced(-square)
    far = scaled(slow + expm1_of_rest(r - error).fma(slow, rest), k)
    far = choose(x < 0, 2 - far, far)
    return choose(abs(x) < 0.5, near, far)
