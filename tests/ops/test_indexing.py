"""Gathers and scatters: negative and wild indices, duplicates, work in place."""

import numpy as np
import pytest

from ckpt.errors import IRTypeError
from ckpt.ir.interpret import interpret
from ckpt.ir.op import Op
from ckpt.ir.types import DType, Type
from ckpt.ops.indexing import (
    LastWrite,
    ScatterAdd,
    ScatterAddAlongAxis,
    ScatterSet,
    Take,
    TakeAlongAxis,
    WrapIndex,
)

jax = pytest.importorskip("jax")
X = np.arange(12.0).reshape(3, 4)
F64 = Type((3, 4), DType.F64)


def test_negative_indices_count_from_the_end():
    index = np.array([-1, 0, -4])
    np.testing.assert_array_equal(Take(1).impl(X, index), X[:, [-1, 0, -4]])
    np.testing.assert_array_equal(WrapIndex(4).impl(index), [3, 0, 0])
    lines = np.array([[-1, -3]])
    np.testing.assert_array_equal(
        TakeAlongAxis(0).impl(X[:, :2], lines), np.take_along_axis(X[:, :2], lines, 0)
    )


@pytest.mark.parametrize(
    ("op", "args"),
    [
        (Take(0), (X, np.array([3]))),
        (Take(0), (X, np.array([-4]))),
        (WrapIndex(3), (np.array([3]),)),
        (LastWrite(3), (np.array([7]),)),
        (ScatterAdd(0), (X, X[:1], np.array([3]))),
        (ScatterSet(1), (X, X[:, :1], np.array([-5]))),
        (TakeAlongAxis(1), (X, np.full((3, 1), 4))),
        (ScatterAddAlongAxis(1), (X, X[:, :1], np.full((3, 1), 4))),
    ],
    ids=str,
)
def test_wild_indices_raise_in_the_interpreter(op: Op, args):
    with pytest.raises(IndexError, match="out of bounds for axis with size"):
        op.impl(*args)


def test_wild_indices_are_clamped_in_kernels():
    from ckpt.codegen.library.scatter_add import scatter_add
    from ckpt.codegen.library.take import take

    index = np.array([-100, 100, 1])
    out = np.empty((3, 4))
    take(X, index, out, 0)
    np.testing.assert_array_equal(out, X[[0, 2, 1]])
    total = np.empty((3, 4))
    scatter_add(np.zeros((3, 4)), np.ones((3, 4)), index, total, 0)
    np.testing.assert_array_equal(total, np.ones((3, 4)))
    nothing = np.full((3, 4), 7.0)
    take(np.empty((0, 4)), index, nothing, 0)
    np.testing.assert_array_equal(nothing, 0)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_last_write_stands(dtype):
    index = np.array([[2, 0], [2, -1]], dtype)
    np.testing.assert_array_equal(LastWrite(3).impl(index), [[False, True], [False, True]])
    u = np.arange(16.0).reshape(2, 2, 4)
    expected = X.copy()
    for i, row in zip(index.reshape(-1), u.reshape(4, 4), strict=True):
        expected[i] = row
    np.testing.assert_array_equal(ScatterSet(0).impl(X, u, index), expected)


def test_gradient_of_a_write_agrees_with_what_is_stored(make_transpose):
    index = np.array([2, 0, 2])
    types = [F64, Type((3, 4), DType.F64), Type((3,), DType.I64)]
    program = make_transpose(ScatterSet(0), types, frozenset({0, 1}))
    ct = np.arange(1.0, 13).reshape(3, 4)
    ct_x, ct_u = interpret(program, index, ct)
    np.testing.assert_array_equal(ct_x, [[0] * 4, ct[1], [0] * 4])
    np.testing.assert_array_equal(ct_u, [[0] * 4, ct[0], ct[2]])


def test_transposes_of_reads_add_up(make_transpose):
    index = np.array([1, 1, 2])
    program = make_transpose(Take(0), [F64, Type((3,), DType.I64)], frozenset({0}))
    assert [e.op.name for e in program.eqns] == ["zero", "scatter_add"]
    (back,) = interpret(program, index, np.ones((3, 4)))
    np.testing.assert_array_equal(back, [[0] * 4, [2] * 4, [1] * 4])


def test_several_index_arrays_are_one():
    """`x[i, j]` by `i * n + j`, as the module says."""
    x = np.arange(24.0).reshape(3, 4, 2)
    i, j = np.array([0, -1, 2]), np.array([-4, 3, 1])
    flat = WrapIndex(3).impl(i) * 4 + WrapIndex(4).impl(j)
    np.testing.assert_array_equal(Take(0).impl(x.reshape(12, 2), flat), x[i, j])


@pytest.mark.parametrize("name", ["scatter_add", "scatter_set", "scatter_add_along_axis"])
def test_kernels_work_in_place(name: str):
    op = {
        "scatter_add": ScatterAdd(0),
        "scatter_set": ScatterSet(0),
        "scatter_add_along_axis": ScatterAddAlongAxis(0),
    }[name]
    index = np.array([2, 0, 2])
    if name.endswith("axis"):
        index = np.repeat(index[:, None], 4, 1)
    module = __import__(f"ckpt.codegen.library.{name}", fromlist=[name])
    x, u = X.copy(), X + 100
    expected = op.impl(x, u, index)
    getattr(module, name)(x, u, index, x, 0)
    np.testing.assert_array_equal(x, expected)


def test_gradients_are_those_of_jax(make_transpose):
    random = np.random.default_rng(0)
    index = random.integers(-4, 4, (2, 3))
    ct = random.standard_normal((3, 2, 3))
    types = [F64, Type(index.shape, DType.I64)]
    (back,) = interpret(make_transpose(Take(1), types, frozenset({0})), index, ct)
    with jax.enable_x64(True):
        _, pull = jax.vjp(lambda x: x[:, index], X)
        np.testing.assert_allclose(back, pull(ct)[0], 1e-14)


@pytest.mark.parametrize(
    ("op", "types", "why"),
    [
        (Take(2), (F64, Type((2,), DType.I64)), "no axis 2"),
        (Take(0), (F64, Type((2,), DType.F64)), "i32 or i64"),
        (Take(0), (F64,), "an array and an index"),
        (WrapIndex(3), (F64,), "i32 or i64"),
        (LastWrite(3), (F64,), "i32 or i64"),
        (ScatterAdd(0), (F64, F64, Type((2,), DType.I64)), "writes f64\\[2,4\\]"),
        (ScatterAdd(0), (F64, F64), "and an index"),
        (
            ScatterAdd(0),
            (Type((2,), DType.BOOL), Type((2,), DType.BOOL), Type((2,), DType.I64)),
            "bools do not add",
        ),
        (TakeAlongAxis(0), (F64, Type((2, 3), DType.I64)), "along axis 0 only"),
        (TakeAlongAxis(0), (F64, Type((2,), DType.I64)), "along axis 0 only"),
        (ScatterAddAlongAxis(0), (F64, F64, Type((2, 4), DType.I64)), "adds f64\\[2,4\\]"),
    ],
)
def test_refusals(op: Op, types, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(*types)
