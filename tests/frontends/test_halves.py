"""f16 and bf16 in NumPy functions: promotion, casts, constants, and what gives clear errors."""

import ml_dtypes
import numpy as np
import pytest
import scipy.special

import ckpt.numpy as cnp
from ckpt.errors import IRTypeError, TraceError
from ckpt.frontends.numpy import trace
from tests.frontends.conftest import run

BF16 = np.dtype(ml_dtypes.bfloat16)
F16 = np.dtype(np.float16)
HALVES = [F16, BF16]
X = np.linspace(-2, 2, 12).reshape(3, 4)


def dtype_of(f, *args):
    return np.asarray(run(f, *args)).dtype


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("other", [np.float32, np.float64, np.int32, np.int64, np.bool_])
def test_halves_promote_as_float16_does(half, other):
    x, y = X.astype(half), np.ones((3, 4), other)
    want = np.result_type(F16, other)
    want = half if want == F16 else want
    for f in (np.add, np.multiply, np.maximum, lambda a, b: np.where(a > 0, a, b)):
        assert dtype_of(f, x, y) == want
        assert dtype_of(f, y, x) == want
    assert dtype_of(lambda a, b: np.concatenate([a, b]), x, y) == want
    if other != np.bool_:
        assert dtype_of(lambda a, b: a @ b.T, x, y) == want


def test_the_two_halves_together_are_float32():
    x, y = X.astype(F16), X.astype(BF16)
    for f in (np.add, np.greater, lambda a, b: a @ b.T, lambda a, b: np.stack([a, b])):
        found = dtype_of(f, x, y)
        assert found == (np.bool_ if f is np.greater else np.float32)


@pytest.mark.parametrize("half", HALVES)
def test_python_numbers_give_way(half):
    x = X.astype(half)
    for f in (
        lambda a: a * 2.5 + 1,
        lambda a: 1 / (a + 3),
        lambda a: a**2,
        lambda a: np.where(a > 0, a, 0.0),
        lambda a: np.maximum(a, 0),
        lambda a: np.clip(a, -1, 1),
        lambda a: a.at[0].set(1.5),
    ):
        assert dtype_of(f, x) == half


@pytest.mark.parametrize("half", HALVES)
def test_functions_keep_halves(half):
    x = np.abs(X).astype(half) + half.type(0.25)
    for f in (
        *(np.exp, np.log, np.sqrt, np.tanh, np.floor, np.sum, np.mean, np.var, np.std, np.max),
        *(np.prod, np.cumsum, np.sort, np.median, np.ptp, np.average, np.diff, np.nan_to_num),
        *(cnp.erf, cnp.expit, cnp.relu, cnp.gelu, cnp.softmax, scipy.special.erf),
        *(np.zeros_like, np.linalg.norm, lambda a: np.full_like(a, 0.1)),
    ):
        assert dtype_of(f, x) == half, f


@pytest.mark.parametrize("half", HALVES)
def test_dtypes_that_are_asked_for(half):
    x = X.astype(np.float32)
    for f in (
        lambda a: a.astype(half),
        lambda a: np.sum(a, dtype=half),
        lambda a: np.mean(a, dtype=half),
        lambda a: np.add(a, a, dtype=half),
        lambda a: np.zeros_like(a, dtype=half),
        lambda a: cnp.random.normal(cnp.random.key(0), a.shape, dtype=half),
        lambda a: cnp.random.uniform(cnp.random.key(0), a.shape, dtype=half),
    ):
        assert dtype_of(f, x) == half
    back = run(lambda a: a.astype(half).astype(np.float32), x)
    np.testing.assert_array_equal(back, x.astype(half).astype(np.float32))


@pytest.mark.parametrize("half", HALVES)
def test_constants_and_literals_are_rounded_to_the_dtype(half):
    constant = X.astype(half)
    traced = trace(lambda a: a + constant + np.asarray(0.1, half), (X.astype(half),))
    assert [c.dtype for c in traced.constants] == [half]
    assert repr(float(half.type(0.1))) in str(traced.program)
    found = run(lambda a: a + constant + np.asarray(0.1, half), X.astype(half))
    np.testing.assert_array_equal(found, (constant + constant) + half.type(0.1))


def test_a_mean_is_finite_where_the_sum_is_not():
    x = np.full(70_000, 3.0).astype(F16)
    assert run(np.sum, x) == np.inf
    assert run(np.mean, x) == x[0]
    assert run(np.var, x) == 0


@pytest.mark.parametrize("half", HALVES)
def test_each_function_rounds_what_it_returns(half):
    """Sums in f32 first: 2048 ones and one more are 2049, which f16 and bf16 round to even."""
    ones = np.ones(2049).astype(half)
    assert float(run(np.sum, ones)) == 2048
    product = run(lambda a: a @ a, ones)
    assert float(product) == 2048
    third = run(lambda a: (a / 3) * 3, ones[:1])
    assert float(third[0]) == float(half.type(half.type(1 / 3) * half.type(3)))


def test_what_needs_more_digits_says_so():
    a = np.eye(3).astype(BF16)
    with pytest.raises(IRTypeError, match="f32 or f64; cast the operands"):
        trace(np.linalg.cholesky, (a,))
    with pytest.raises(TypeError, match="bitwise_and"):
        trace(lambda x: x & x, (a,))
    with pytest.raises(TraceError, match=r"ml_dtypes\.bfloat16"):
        trace(lambda x: x + np.ones(3, np.complex64), (a,))
    with pytest.raises(TypeError, match="without rounding"):
        trace(lambda n, x: n.at[0].add(x[0, 0]), (np.arange(3), a))
