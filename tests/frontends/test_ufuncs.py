"""Every ufunc that has a rule gives NumPy's dtype, shape and values, on every supported dtype."""

import itertools

import numpy as np
import pytest
import scipy.special

from ckpt.errors import TraceError, UnsupportedOpError
from ckpt.frontends.dispatch import UFUNCS
from ckpt.frontends.refusals import qualified

DTYPES = ("f4", "f8", "i4", "i8", "?")
SHAPES = (
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((), (4,)),
    ((3,), ()),
    ((1,), ()),
    ((0, 3), (1,)),
    ((), ()),
)
ELEMENTWISE = sorted((u for u in UFUNCS if u.signature is None), key=qualified)
FLOATS_ONLY = (np.reciprocal,)
# Powers of negative integers and large shifts are tested on their own.
POSITIVE = (np.power, np.left_shift, np.right_shift)


def draw(ufunc, dtype, shape, seed):
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = np.asarray(random.uniform(-2, 2, shape), dtype)
        if values.size > 1:
            values.flat[0], values.flat[-1] = 0, random.choice([np.nan, np.inf, -np.inf, 1.0])
        return abs(values) if ufunc is np.power else values
    low = 0 if ufunc in POSITIVE else -4
    return np.asarray(random.integers(low, 5, shape)).astype(dtype)


@pytest.mark.parametrize("ufunc", ELEMENTWISE, ids=qualified)
@pytest.mark.parametrize("seed", range(3))
def test_ufunc(same, ufunc, seed):
    tried = 0
    for i, dtypes in enumerate(itertools.product(DTYPES, repeat=ufunc.nin)):
        shapes = SHAPES[(seed + i) % len(SHAPES)][: ufunc.nin]
        args = [draw(ufunc, d, s, seed + i) for i, (d, s) in enumerate(zip(dtypes, shapes))]
        try:
            loop = ufunc.resolve_dtypes((*map(np.dtype, dtypes), *(None,) * ufunc.nout))
        except TypeError:  # NumPy has no loop either
            continue
        if any(d.char not in "fdil?" for d in loop):
            continue
        if ufunc in FLOATS_ONLY and any(d in "i4i8?" for d in dtypes):
            continue
        tried += 1
        rtol = 2e-5 if "f4" in dtypes and np.dtype(np.float32) in loop else None
        same(ufunc, *args, rtol=rtol)
    assert tried


@pytest.mark.parametrize("number", [2, -1.5, True, 0, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", [np.add, np.subtract, np.multiply, np.divide, np.less])
def test_python_numbers_give_way(same, ufunc, dtype, number):
    x = np.asarray([1, 0, 3]).astype(dtype)
    if dtype == "?" and type(number) is bool and ufunc is np.subtract:
        pytest.skip("NumPy has no loop")
    same(lambda x: ufunc(x, number), x)
    same(lambda x: ufunc(number, x), x)
    same(ufunc, x, number if type(number) is not bool else np.bool_(number))


OPERATORS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "truediv": lambda x, y: x / y,
    "floordiv": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "divmod": divmod,
    "pow": lambda x, y: abs(x) ** y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "unary": lambda x, y: (-x, +x, abs(y)),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8"])
def test_operators(same, name, dtype):
    f = OPERATORS[name]
    x, y = np.asarray([1, 2, 5], dtype), np.asarray([[3], [2]], dtype)
    same(f, x, y)
    same(lambda x: f(x, 2), x)
    same(lambda y: f(2, y), y)
    same(lambda y: f(x, y), y)  # a closed-over array on the left
    same(lambda y: f(np.float32(2), y), y)
    same(f, x, 2)
    same(f, 2.5, y)


@pytest.mark.parametrize("dtype", ["i4", "i8", "?"])
def test_bits(same, dtype):
    x, y = np.asarray([1, 0, 1, 0], dtype), np.asarray([1, 1, 0, 0], dtype)
    same(lambda x, y: (x & y, x | y, x ^ y, ~x), x, y)
    same(lambda x: (x & True, True | x), x)
    if dtype != "?":
        same(lambda x, y: (x << y, x >> y, x << 2, 7 >> y), x, y)


def test_numbers_as_arguments_stay_python_numbers(same):
    x = np.float32([1, 2])
    same(lambda x, a: x * a, x, 2.5)
    same(lambda x, a, n: x * (a + n * 2 - 1) / -a, x, 2.5, 3)
    same(lambda x, n: x // n, np.int32([7, 9]), 2)
    same(lambda x, a: x * np.sin(a), x, 2.5)  # np.sin makes a NumPy number of it, which is strong


def test_keywords(same, run):
    x = np.float32([1, 2])
    same(lambda x: np.add(x, 1, dtype=np.float64), x)
    with pytest.raises(UnsupportedOpError, match=r"np.add\(..., where="):
        run(lambda x: np.add(x, 1, where=np.array([True, False])), x)
    with pytest.raises(TraceError, match=r"np.add\(..., out="):
        run(lambda x: np.add(x, 1, out=np.zeros(2, np.float32)), x)


def test_functions_of_bools_are_float16_as_in_numpy(same):
    same(np.sin, np.asarray([True, False]))


def test_integer_powers(same, run):
    x = np.asarray([1, 2, 3])
    same(lambda x: (x**0, x**1, x**2, x**3), x)
    with pytest.raises(ValueError, match="negative integer powers"):
        run(lambda x: x**-1, x)
    with pytest.raises(UnsupportedOpError, match=r"np\.reciprocal"):
        run(np.reciprocal, x)


def test_constants_of_other_dtypes(same):
    x = np.float32([1, 2])
    same(lambda x: x * np.asarray([1, 2], np.uint8), x)
    same(lambda x: x + np.float16(2), x)
    same(lambda x: x * [1.5, 2.5], x)


def test_large_python_integers(same, run):
    same(lambda x: x * 2**70, np.ones(2))
    with pytest.raises(OverflowError):
        run(lambda x: x + 2**40, np.int32([1]))


@pytest.mark.parametrize("x", [-800.0, -40.0, -1e-9, 0.0, 1e-9, 40.0, 800.0])
def test_special_functions_far_out(same, x):
    s = scipy.special
    same(lambda x: (s.expit(x), s.log_expit(x), s.erf(x), s.erfc(x), s.ndtr(x)), np.asarray(x))
    same(lambda x: (np.logaddexp(x, -x), np.logaddexp2(x, 0.0), np.hypot(x, 1e200)), np.asarray(x))


def test_zero_times_infinity(same):
    zero, y = np.zeros(5), np.asarray([0.0, np.inf, -1.0, np.nan, 2.0])
    same(lambda x, y: (scipy.special.xlogy(x, y), scipy.special.xlog1py(x, y)), zero, y)
