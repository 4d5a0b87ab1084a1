"""Factorisations and solves against NumPy and JAX, their kernels against NumPy."""

import numpy as np
import pytest

from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.errors import IRTypeError
from ckpt.ir.build import Builder
from ckpt.ir.interpret import interpret
from ckpt.ir.op import Sample
from ckpt.ir.types import DType, Type
from ckpt.ops.linalg import Cholesky, Triangle, TriangularSolve

jax = pytest.importorskip("jax")
ALL = [s for cls in (Triangle, Cholesky, TriangularSolve) for s in cls.samples()]
F64 = [s for s in ALL if s.ins[0].dtype is DType.F64]


@pytest.mark.parametrize("sample", ALL, ids=str)
def test_kernels(rules, sample: Sample):
    rules.types(sample)
    rules.kernel(sample)


@pytest.mark.parametrize("sample", F64, ids=str)
def test_derivatives(rules, sample: Sample):
    rules.jvp(sample)
    for i in range(len(sample.ins)):
        rules.jvp(sample, [i])
    if sample.op.linear_in(len(sample.ins)):
        rules.adjoint(sample)


@pytest.mark.parametrize("n", [64, 65, 150])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
def test_kernels_of_many_blocks(rules, n: int, dtype: DType):
    a = Type((n, n), dtype)
    tolerance = 1e-4 if dtype is DType.F32 else 1e-12  # n terms, condition below ten
    rules.kernel(Sample(Cholesky(), (a,), positive_definite=(0,)), tolerance)
    for flags in ((True, False), (True, True), (False, False), (False, True)):
        op = TriangularSolve(*flags)
        ins = (a, Type((n, 7), dtype))
        rules.kernel(Sample(op, ins, positive_definite=(0,)), tolerance)


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
@pytest.mark.parametrize("transpose_a", [True, False])
def test_many_right_hand_sides_are_solved_in_parts(rules, dtype: DType, transpose_a: bool):
    op = TriangularSolve(reads_lower=True, transpose_a=transpose_a)
    a, b = Type((2, 150, 150), dtype), Type((2, 150, 401), dtype)
    assert len(op.lower(a, b).parts) == 2
    tolerance = 1e-4 if dtype is DType.F32 else 1e-12
    rules.kernel(Sample(op, (a, b), positive_definite=(0,)), tolerance)


def test_the_transpose_of_a_matrix_is_read_where_it_stands(rules):
    """Column-major operands, whose rows have gaps and columns have none."""
    op = TriangularSolve(reads_lower=True)
    a, b = Sample(op, (Type((70, 70), DType.F64), Type((70, 3), DType.F64))).draw()
    a += 9 * np.eye(70)
    expected = np.linalg.solve(np.tril(a), b)
    for left in (a, np.asfortranarray(a)):
        np.testing.assert_allclose(rules.run(op, (left, b))[0], expected, 1e-12, 1e-12)


def test_what_is_not_positive_definite_is_nan(rules):
    good = np.eye(3) * 2
    nan, indefinite = good.copy(), good.copy()
    nan[2, 0] = np.nan
    indefinite[1, 0] = 5
    upper = good.copy()
    upper[0, 2] = np.nan  # never read
    a = np.stack([good, nan, indefinite, upper])
    for found in (Cholesky().impl(a), rules.run(Cholesky(), (a,))[0]):
        np.testing.assert_array_equal(found[[0, 3]], np.stack([np.linalg.cholesky(good)] * 2))
        assert np.isnan(found[1:3]).all()


@pytest.mark.parametrize("unit", [True, False])
def test_the_other_triangle_is_never_read(rules, unit: bool):
    a = np.float64([[2, np.nan], [3, 4]])
    if unit:
        a[0, 0] = a[1, 1] = np.nan
    op = TriangularSolve(reads_lower=True, unit_diagonal=unit)
    b = np.float64([[2.0], [7.0]])
    expected = [[2.0], [1.0]] if unit else [[1.0], [1.0]]
    for found in (op.impl(a, b), rules.run(op, (a, b))[0]):
        np.testing.assert_array_equal(found, expected)


def test_singular_systems_give_infinity(rules):
    a, b = np.zeros((1, 1)), np.ones((1, 2))
    op = TriangularSolve(reads_lower=False)
    with np.errstate(all="ignore"):
        for found in (op.impl(a, b), rules.run(op, (a, b))[0]):
            np.testing.assert_array_equal(found, np.full((1, 2), np.inf))


@pytest.mark.parametrize("flags", [(i % 2 > 0, i // 2 % 2 > 0, i // 4 > 0) for i in range(8)])
def test_solve_agrees_with_jax(flags):
    reads_lower, transpose_a, unit = flags
    op = TriangularSolve(*flags)
    a, b = Sample(op, (Type((4, 4), DType.F64), Type((4, 3), DType.F64))).draw()
    a += 3 * np.eye(4)
    with jax.enable_x64(True):
        expected = jax.scipy.linalg.solve_triangular(
            a, b, trans=int(transpose_a), lower=reads_lower, unit_diagonal=unit
        )
    np.testing.assert_allclose(op.impl(a, b), expected, 1e-13, 1e-13)


def log_likelihood(n: int):
    """`a, b -> sum of (l⁻¹ b)²` with `l lᵀ = a`: the heart of a Gaussian process."""
    b = Builder("quadratic")
    matrix, right = b.input(Type((n, n), DType.F64), "a"), b.input(Type((n, 1), DType.F64), "b")
    half = b.emit(TriangularSolve(reads_lower=True), b.emit(Cholesky(), matrix), right)
    from ckpt.ops.contract import Dot

    return b.build([b.emit(Dot(((0,), (0,))), half, half)])


def test_gradient_of_a_gaussian_process_agrees_with_jax():
    program = log_likelihood(4)
    a = Sample(Cholesky(), (Type((4, 4), DType.F64),), positive_definite=(0,)).draw()[0]
    b = np.float64([[1.0], [-2.0], [0.5], [3.0]])
    halves = unzip(jvp(program))
    residuals = interpret(halves.early, a, b)[1:]
    ct_a, ct_b = interpret(transpose(halves.late), *residuals, np.ones((1, 1)))

    def by_jax(a, b):
        factor = jax.numpy.linalg.cholesky(a)
        half = jax.scipy.linalg.solve_triangular(factor, b, lower=True)
        return (half * half).sum()

    with jax.enable_x64(True):
        expected_a, expected_b = jax.grad(by_jax, (0, 1))(a, b)
    np.testing.assert_allclose(ct_b, expected_b, 1e-12)
    # only the lower triangle is read here, both are there: the sum of both cotangents agrees
    symmetric = np.asarray(expected_a)
    np.testing.assert_allclose(ct_a + ct_a.T, symmetric + symmetric.T, 1e-11, 1e-12)
    assert not np.triu(ct_a, 1).any()


def test_second_derivative_of_cholesky():
    """A forward rule of the forward rule, against differences of the first."""
    from ckpt.ir.forget import forget

    b = Builder("f")
    matrix = b.input(Type((3, 3), DType.F64), "a")
    first = forget(jvp(b.build([b.emit(Cholesky(), matrix)])))
    a = Sample(Cholesky(), (Type((3, 3), DType.F64),), positive_definite=(0,)).draw()[0]
    random = np.random.default_rng(4)
    da, dda, step = random.standard_normal((3, 3)), random.standard_normal((3, 3)), 1e-5
    found = interpret(jvp(first, [True, False]), a, da, dda)[3]
    up = interpret(first, a + step * dda, da)[1]
    down = interpret(first, a - step * dda, da)[1]
    np.testing.assert_allclose(found, (up - down) / (2 * step), 1e-6, 1e-8)


@pytest.mark.parametrize(
    ("op", "shapes", "dtype", "why"),
    [
        (Cholesky(), ((2, 3),), DType.F32, "square"),
        (Cholesky(), ((2, 2),), DType.I32, "floats"),
        (Triangle(True), ((3,),), DType.F32, "matrices"),
        (TriangularSolve(True), ((2, 3), (3, 1)), DType.F32, "square"),
        (TriangularSolve(True), ((3, 3), (3,)), DType.F32, "last axis of length one"),
        (TriangularSolve(True), ((2, 3, 3), (3, 1)), DType.F32, "batch axes"),
        (TriangularSolve(True), ((3, 3), (4, 1)), DType.F32, "equations"),
    ],
)
def test_refusals(op, shapes, dtype: DType, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(*(Type(shape, dtype) for shape in shapes))
