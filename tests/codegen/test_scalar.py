"""Scalar codes at NaN, infinities, signed zeros and the ends of the integers, as in NumPy."""

import itertools

import numpy as np
import pytest

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.codegen.scalar import CODES
from ckpt.ir.kernel import Map
from ckpt.ir.op import OPS
from ckpt.ir.types import DType, Type
from ckpt.ops.elementwise import Elementwise
from tests.codegen.harness import executable, one_op, run_guarded, same
from tests.codegen.test_ops import FUNCTIONS, ULPS

INF, NAN = float("inf"), float("nan")
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.0, -7.25, 1e-30, -1e30, INF, -INF, NAN]
ELEMENTWISE = [name for name, op in sorted(OPS.items()) if issubclass(op, Elementwise)]


def values(dtype):
    if dtype is DType.BOOL:
        return np.array([False, True])
    if dtype.is_float:
        return np.array(FLOATS, dtype.numpy)
    ends = np.iinfo(dtype.numpy)
    near = [0, 1, -1, 2, -2, 3, -7, 31, 32, 63, 64, 100]
    return np.array([*near, ends.min, ends.min + 1, ends.max, ends.max - 1], dtype.numpy)


def operand_dtypes(op):
    for dtype in type(op).accepts:
        if op.name in ("where", "gate"):
            yield (DType.BOOL, dtype, dtype) if op.name == "where" else (dtype, DType.BOOL)
        else:
            yield (dtype,) * type(op).arity


def test_every_elementwise_op_has_a_code():
    for name in ELEMENTWISE:
        sample = next(iter(OPS[name].samples()))
        kernel = sample.op.lower(*sample.ins)
        assert isinstance(kernel, Map)
        assert kernel.code in CODES


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n not in ("cast", "bits_to_uniform")])
def test_specials_are_as_in_numpy(name):
    op = OPS[name]()
    for dtypes in operand_dtypes(op):
        grid = [np.array(c) for c in zip(*itertools.product(*map(values, dtypes)), strict=True)]
        operands = [g.astype(t.numpy) for g, t in zip(grid, dtypes, strict=True)]
        if name == "pow" and dtypes[0].is_integer:  # NumPy raises for negative exponents
            keep = operands[1] >= 0
            operands = [x[keep] for x in operands]
        with np.errstate(all="ignore"):
            want = op.impl(*operands)
        made = one_op(
            op, [Type(x.shape, t) for x, t in zip(operands, dtypes, strict=True)], "contiguous"
        )
        (got,) = run_guarded(executable(made.program), operands)
        if name in ("maximum", "minimum"):  # which zero wins NumPy leaves to the processor
            got, want = (np.where(x == 0, 0, x).astype(x.dtype) for x in (got, want))
        if name in FUNCTIONS and want.dtype.kind == "f":
            eps = np.finfo(want.dtype).eps
            np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
            np.testing.assert_allclose(got, want, rtol=ULPS * eps, atol=0)
            zero = want == 0
            np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))
        else:
            same(got, want)


def test_negative_integer_exponents_give_the_integer_part():
    made = one_op(OPS["pow"](), [Type((5,), DType.I32)] * 2, "contiguous")
    base = np.array([2, 1, -1, -1, 0], np.int32)
    by = np.array([-1, -5, -3, -2, -1], np.int32)
    (got,) = executable(made.program)(base, by)
    assert got.tolist() == [0, 1, -1, 1, 0]


@pytest.mark.parametrize("code", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_extremes_propagate_nan(code, n):
    op = OPS[code]((0,)) if code in ("max", "min") else OPS[code](0)
    for at in {0, n // 2, n - 1}:
        x = np.random.default_rng(at).standard_normal(n)
        x[at] = NAN
        made = one_op(op, [Type((n,), DType.F64)], "contiguous")
        (got,) = executable(made.program)(x)
        same(got, op.impl(x))
