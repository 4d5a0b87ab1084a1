"""Reductions, scans and sorting: ties, zeros, NaN, empty axes, second derivatives, JAX."""

from collections.abc import Callable

import numpy as np
import pytest

from ckpt.errors import IRTypeError
from ckpt.ir.interpret import interpret
from ckpt.ir.op import Op
from ckpt.ir.types import DType, Type
from ckpt.ops.broadcast import Broadcast, Sum
from ckpt.ops.reduce import Argmax, Argmin, Max, Min, Prod
from ckpt.ops.scan import Cumprod, Cumsum, Recurrence
from ckpt.ops.sort import Argsort

jax = pytest.importorskip("jax")


@pytest.fixture
def tangent(make_jvp) -> Callable[..., np.ndarray]:
    def of(op: Op, args, dargs) -> np.ndarray:
        types = [Type(x.shape, DType.F64) for x in args]
        program = make_jvp(op, types, range(len(args)))
        return interpret(program, *args, *dargs)[-1]

    return of


@pytest.mark.parametrize(
    ("op", "other"),
    [
        (Sum((0, 2)), lambda np, x: np.sum(x, (0, 2))),
        (Max((1,)), lambda np, x: np.max(x, 1)),
        (Min((0, 1)), lambda np, x: np.min(x, (0, 1))),
        (Prod((1, 2)), lambda np, x: np.prod(x, (1, 2))),
        (Cumsum(1), lambda np, x: np.cumsum(x, 1)),
        (Cumsum(1, reverse=True), lambda np, x: np.flip(np.cumsum(np.flip(x, 1), 1), 1)),
        (Cumprod(2), lambda np, x: np.cumprod(x, 2)),
        (Cumprod(0, reverse=True), lambda np, x: np.flip(np.cumprod(np.flip(x, 0), 0), 0)),
        (Broadcast((5, 2, 3, 4), (1, 2, 3)), lambda np, x: np.broadcast_to(x, (5, 2, 3, 4))),
    ],
    ids=lambda x: str(x) if isinstance(x, Op) else "",
)
def test_values_and_tangents_are_those_of_jax(tangent, op: Op, other: Callable):
    random = np.random.default_rng(0)
    x = random.integers(-2, 3, (2, 3, 4)).astype(np.float64)  # ties, and zeros in products
    dx = random.standard_normal(x.shape)
    with jax.enable_x64(True):
        y, dy = jax.jvp(lambda x: other(jax.numpy, x), (x,), (dx,))
    np.testing.assert_allclose(op.impl(x), other(np, x), 1e-15)
    np.testing.assert_allclose(op.impl(x), y, 1e-15)
    if not isinstance(op, Cumprod):  # jax divides by elements there: NaN at zeros
        np.testing.assert_allclose(tangent(op, [x], [dx]), dy, 1e-13, 1e-13)


@pytest.mark.parametrize("op", [Prod((0,)), Cumprod(0), Cumprod(0, reverse=True)])
def test_products_have_derivatives_at_zeros(tangent, op: Op):
    """Row j of the Jacobian against products of the others."""
    for x in ([2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [2.0, 5.0, 0.0]):
        base = np.array(x)
        for j in range(3):
            one_less = base.copy()
            one_less[j] = 1.0
            expected = op.impl(one_less)
            if isinstance(op, Cumprod):
                reached = np.arange(3) <= j if op.reverse else np.arange(3) >= j
                expected = expected * reached
            np.testing.assert_array_equal(tangent(op, [base], [np.eye(3)[j]]), expected)


def test_nan_and_infinity_propagate():
    x = np.array([[1.0, np.nan, np.inf], [np.inf, -np.inf, 2.0]])
    assert np.isnan(Max((1,)).impl(x)[0])
    assert np.isnan(Min((0,)).impl(x)[1])
    np.testing.assert_array_equal(Argmax(1).impl(x), [1, 0])
    np.testing.assert_array_equal(Argmin(1).impl(x), [1, 1])
    with np.errstate(invalid="ignore"):
        assert np.isnan(Sum((1,)).impl(x)).all()


def test_empty_reductions():
    empty = Type((0, 3), DType.F32)
    np.testing.assert_array_equal(Sum((0,)).impl(np.zeros((0, 3))), [0, 0, 0])
    np.testing.assert_array_equal(Prod((0,)).impl(np.zeros((0, 3))), [1, 1, 1])
    for op in (Max((0,)), Min((0, 1)), Argmax(0), Argmin(0)):
        with pytest.raises(IRTypeError, match="no element"):
            op.type(empty)
    assert Max((1,)).type(empty).shape == (0,)


def test_integer_sums_keep_their_dtype_and_wrap():
    x = np.full(3, 2**30, np.int32)
    with np.errstate(all="ignore"):
        assert Sum((0,)).impl(x) == np.int32(3 * 2**30 - 2**32)
        assert Cumsum(0).impl(x).dtype == np.int32
        assert Prod((0,)).impl(x).dtype == np.int32


def test_recurrence_is_its_definition():
    random = np.random.default_rng(0)
    u, a = random.standard_normal((2, 6, 2))
    h = np.zeros(2)
    for t, row in enumerate(Recurrence(0).impl(u, a)):
        h = u[t] + a[t] * h
        np.testing.assert_array_equal(row, h)
    np.testing.assert_array_equal(
        Recurrence(0, reverse=True).impl(u[::-1], a[::-1])[::-1], Recurrence(0).impl(u, a)
    )


@pytest.mark.parametrize("size", [0, 1, 2, 7, 64, 100])
def test_argsort_kernel_is_stable_and_puts_nan_last(size: int):
    from ckpt.codegen.library.argsort import argsort

    random = np.random.default_rng(size)
    x = random.integers(-3, 3, (2, size)).astype(np.float64)
    x[random.random(x.shape) < 0.2] = np.nan
    x[random.random(x.shape) < 0.2] = -0.0
    out = np.full(x.shape, -1)
    scratch = np.full(16 * max(size, 1), 0xAB, np.uint8)
    argsort(x, out, scratch, 1)
    np.testing.assert_array_equal(out, Argsort(1).impl(x))


@pytest.mark.parametrize(
    ("op", "x", "why"),
    [
        (Sum((0,)), Type((2,), DType.BOOL), "cast the bools"),
        (Sum((1, 0)), Type((2, 2), DType.F32), "must increase"),
        (Sum((-1,)), Type((2, 2), DType.F32), "within 2 axes"),
        (Max((2,)), Type((2, 2), DType.F32), "within 2 axes"),
        (Prod((0,)), Type((2,), DType.BOOL), "cast the bools"),
        (Cumsum(1), Type((2,), DType.F32), "no axis 1"),
        (Cumprod(0), Type((2,), DType.BOOL), "cast the bools"),
        (Argsort(0), Type((), DType.F32), "no axis 0"),
        (Argmax(2), Type((2, 2), DType.F32), "within 2 axes"),
        (Broadcast((3,), (0,)), Type((2,), DType.F32), "differ in length"),
        (Broadcast((3, 2), (1, 0)), Type((2, 3), DType.F32), "must increase"),
        (Broadcast((3, 2), (1,)), Type((3, 2), DType.F32), "name every axis"),
        (Broadcast((-1,), ()), Type((), DType.F32), "negative"),
    ],
)
def test_refusals(op: Op, x: Type, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(x)
