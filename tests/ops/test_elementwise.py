"""Elementwise ops where samples do not reach: special values, ties, JAX as a second opinion."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ckpt.errors import IRTypeError
from ckpt.ir.build import Builder, lit
from ckpt.ir.interpret import interpret
from ckpt.ir.op import OPS, Op
from ckpt.ir.program import Program
from ckpt.ir.types import DType, Type
from ckpt.ops.arithmetic import Add, Cast, Gate, Mul, Sub, Where
from ckpt.ops.binary import FloorDivide, Maximum, Minimum, Pow, Remainder
from ckpt.ops.elementwise import Elementwise
from ckpt.ops.functions import Abs, Erf, Exp, Log, Sqrt

jax = pytest.importorskip("jax")
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e300, 700.0])
FLOAT_OPS = [
    op
    for op in OPS.values()
    if issubclass(op, Elementwise) and op.numpy and DType.F64 in op.accepts
    if op not in (Cast, Gate, Where)
]
JAX_NAMES = {"absolute": "abs"}


def tangents(op: Op, args: Sequence[np.ndarray], dargs: Sequence[np.ndarray | None]) -> np.ndarray:
    """The result's tangent; None among `dargs` is a zero tangent."""
    b = Builder("f")
    ins = [b.input(Type(x.shape, DType.of(x.dtype))) for x in args]
    dins = [None if d is None else b.input(x.type.tangent()) for x, d in zip(ins, dargs)]
    _, (dout,) = op.jvp(b, ins, dins)
    program = b.build([dout])
    return interpret(program, *args, *(d for d in dargs if d is not None))[0]


def counterpart(op: type[Elementwise]) -> Callable:
    name = op.numpy
    assert name is not None
    special = getattr(jax.scipy.special, name, None)
    return getattr(jax.numpy, JAX_NAMES.get(name, name), special)


@pytest.mark.parametrize(
    "op", [op for op in FLOAT_OPS if op not in (FloorDivide, Remainder)], ids=lambda op: op.__name__
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values_are_those_of_jax(op: type[Elementwise], dtype):
    with np.errstate(all="ignore"):
        x = SPECIAL.astype(dtype)
        args = [x] if op.arity == 1 else [a.reshape(-1).copy() for a in np.meshgrid(x, x)]
        out = op().impl(*args)
    with jax.enable_x64(True):
        expected = np.asarray(counterpart(op)(*args))
    assert out.dtype == expected.dtype
    # libraries differ by a few units in the last place, and jax flushes denormals to zero;
    # quotients of infinities, rounded down, it has otherwise than NumPy
    rtol, atol = (1e-5, 1e-37) if dtype is np.float32 else (1e-12, 1e-300)
    found, wanted = out.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_allclose(found, wanted, rtol, atol, err_msg=op.__name__)


@pytest.mark.parametrize("op", FLOAT_OPS, ids=lambda op: op.__name__)
def test_tangents_are_those_of_jax(op: type[Elementwise]):
    random = np.random.default_rng(0)
    args = [random.uniform(*op.domain, 20) for _ in range(op.arity)]
    dargs = [random.standard_normal(20) for _ in args]
    if op.returns is DType.BOOL:
        return
    with jax.enable_x64(True):
        expected = np.asarray(jax.jvp(counterpart(op), tuple(args), tuple(dargs))[1])
    b = Builder("f")
    ins = [b.input(Type((20,), DType.F64)) for _ in args]
    dins = [b.input(x.type.tangent()) for x in ins]
    _, (dout,) = op().jvp(b, ins, dins)
    if dout is None:
        np.testing.assert_array_equal(expected, 0)
        return
    (found,) = interpret(b.build([dout]), *args, *dargs)
    np.testing.assert_allclose(found, expected, 1e-12, 1e-12)


@pytest.mark.parametrize("op", [Maximum, Minimum])
def test_ties_share_the_derivative(op: type[Op]):
    x, y = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 3.0, 2.0, 0.0])
    one, zero = np.ones(4), np.zeros(4)
    first = tangents(op(), [x, y], [one, zero])
    second = tangents(op(), [x, y], [None, one])
    np.testing.assert_array_equal(first + second, [1, 1, 1, 0])
    assert first[0] == second[0] == 0.5
    with jax.enable_x64(True):
        like = jax.numpy.maximum if op is Maximum else jax.numpy.minimum
        expected = jax.jvp(like, (x, y), (one, zero))[1]
    np.testing.assert_array_equal(first, expected)


def test_pow_at_zero():
    x, y = np.array([0.0, 0.0, 0.0, 2.0]), np.array([2.0, 1.0, 0.0, 0.0])
    one = np.ones(4)
    np.testing.assert_array_equal(tangents(Pow(), [x, y], [one, None]), [0, 1, 0, 0])
    np.testing.assert_array_equal(tangents(Pow(), [x, y], [None, one]), [0, 0, 0, np.log(2.0)])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0, 3.0, -1.0, 2.5])
def test_pow_with_a_known_exponent_needs_no_logarithm(power: float):
    b = Builder("f")
    x = b.input(Type((3,), DType.F64))
    dx = b.input(x.type.tangent())
    (y,), (dy,) = Pow().jvp(b, [x, lit(power, DType.F64)], [dx, None])
    assert "log" not in [e.op.name for e in b.eqns]
    points = np.array([0.5, 1.5, -2.0]) if power == int(power) else np.array([0.5, 1.5, 2.0])
    if dy is None:
        assert power == 0
        return
    found_y, found_dy = interpret(b.build([y, dy]), points, np.ones(3))
    np.testing.assert_array_equal(found_y, np.power(points, power))
    np.testing.assert_allclose(found_dy, power * np.power(points, power - 1), 1e-14)


def test_integers_divide_by_zero_as_in_numpy(recwarn):
    x, y = np.array([5, -5, 0], np.int32), np.array([0, 0, 0], np.int32)
    with np.errstate(all="ignore"):
        for op in (FloorDivide, Remainder):
            out = op().impl(x, y)
            assert out.dtype == np.int32
            np.testing.assert_array_equal(out, 0)
    signs = Remainder().impl(np.array([5, -5, 5, -5]), np.array([3, 3, -3, -3]))
    np.testing.assert_array_equal(signs, [2, 1, -1, -2])


def test_gate_stops_what_a_product_would_spread():
    x, mask = np.array([np.nan, np.inf, 2.0]), np.array([False, False, True])
    np.testing.assert_array_equal(Gate().impl(x, mask), [0, 0, 2])


def test_where_keeps_only_its_mask():
    b = Builder("f")
    shape = (4,)
    mask, x = b.input(Type(shape, DType.BOOL)), b.input(Type(shape, DType.F64))
    dx = b.input(x.type.tangent())
    _, (dout,) = Where().jvp(b, [mask, x, lit(0.0, DType.F64)], [None, dx, None])
    (last,) = [e for e in b.eqns if dout in e.outs]
    assert [v.type.dtype for v in last.ins if not v.type.linear] == [DType.BOOL]


@pytest.mark.parametrize("op", [Exp(), Sqrt()])
def test_coefficients_of_the_result_leave_the_operand_unread(op: Op):
    b = Builder("f")
    x = b.input(Type((4,), DType.F64))
    dx = b.input(x.type.tangent())
    op.jvp(b, [x], [dx])
    assert [x in e.ins for e in b.eqns] == [True] + [False] * (len(b.eqns) - 1)


def test_zero_tangents_cost_nothing():
    def lets(op: Op, active: Sequence[int], n: int) -> list[str]:
        b = Builder("f")
        ins = [b.input(Type((3,), DType.F64)) for _ in range(n)]
        dins = [b.input(x.type.tangent()) if i in active else None for i, x in enumerate(ins)]
        op.jvp(b, ins, dins)
        return [e.op.name for e in b.eqns]

    assert lets(Add(), [0], 2) == lets(Add(), [1], 2) == ["add"]
    assert lets(Sub(), [0], 2) == ["sub"]
    assert lets(Sub(), [1], 2) == ["sub", "neg"]
    assert lets(Mul(), [1], 2) == ["mul", "mul"]


def test_scalars_are_widened_and_summed_back():
    def programs() -> Program:
        b = Builder("f")
        x, y = b.input(Type((2, 3), DType.F64)), b.input(Type((), DType.F64))
        _, (dout,) = Add().jvp(b, [x, y], [None, b.input(y.type.tangent())])
        return b.build([dout])

    (out,) = interpret(programs(), np.zeros((2, 3)), np.float64(1), np.float64(7))
    np.testing.assert_array_equal(out, np.full((2, 3), 7.0))


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (np.array([1.9, -1.9]), DType.I32, [1, -1]),
        (np.array([0.0, -0.0, np.nan, 2.0]), DType.BOOL, [False, False, True, True]),
        (np.array([True, False]), DType.F32, [1.0, 0.0]),
        (np.array([2**31 + 1]), DType.I32, [-(2**31) + 1]),
    ],
)
def test_casts(value, dtype: DType, expected):
    out = Cast(dtype).impl(value)
    assert DType.of(out.dtype) is dtype
    np.testing.assert_array_equal(out, np.asarray(expected, dtype.numpy))


def test_cast_is_linear_between_floats_only(make_jvp, make_transpose):
    wide, narrow = Type((3,), DType.F64), Type((3,), DType.F32)
    program = make_jvp(Cast(DType.F32), [wide], [0])
    out, dout = interpret(program, np.ones(3), np.full(3, 0.1))
    assert out.dtype == dout.dtype == np.float32
    np.testing.assert_array_equal(dout, np.float32(0.1))
    (back,) = interpret(make_transpose(Cast(DType.F32), [wide], frozenset({0})), dout)
    assert back.dtype == np.float64
    assert Cast(DType.I32).linear_in(1) == ()
    b = Builder("f")
    x = b.input(narrow)
    _, douts = Cast(DType.I32).jvp(b, [x], [b.input(narrow.tangent())])
    assert douts == [None]


@pytest.mark.parametrize(
    ("op", "types", "why"),
    [
        (Add(), (Type((2,), DType.F32), Type((2,), DType.F64)), "dtypes differ"),
        (Add(), (Type((2,), DType.F32), Type((3,), DType.F32)), "shapes differ"),
        (Add(), (Type((2, 1), DType.F32), Type((2, 3), DType.F32)), "shapes differ"),
        (Add(), (Type((2,), DType.BOOL), Type((2,), DType.BOOL)), "must be one of"),
        (Log(), (Type((2,), DType.I32),), "f32, f64"),
        (Abs(), (), "takes 1 operand"),
        (Erf(), (Type((), DType.F32),) * 2, "takes 1 operand"),
        (Where(), (Type((), DType.F32),) * 3, "mask must be bool"),
        (Where(), (Type((), DType.BOOL), Type((), DType.F32), Type((), DType.F64)), "dtypes"),
        (Gate(), (Type((2,), DType.F32), Type((3,), DType.BOOL)), "shapes differ"),
        (Gate(), (Type((2,), DType.BOOL), Type((2,), DType.BOOL)), "must be a number"),
    ],
)
def test_refusals(op: Op, types: Sequence[Type], why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(*types)
