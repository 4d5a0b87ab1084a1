"""Linear systems with triangular and with positive definite matrices."""

from typing import Any

import numpy as np

from ckpt.errors import TraceError
from ckpt.frontends.lets import broadcast_to, cast, emit, reshape
from ckpt.frontends.promotion import promoted
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.numpy.eager import on_arrays_too
from ckpt.ops.linalg import TriangularSolve


@on_arrays_too
def solve_triangular(
    a: Any, b: Any, *, lower: bool = False, trans: int = 0, unit_diagonal: bool = False
) -> Any:
    """The x with `a x = b`, for a triangular matrix.

    Args:
        a: matrices `[..., n, n]`; the other triangle is not read.
        b: a vector `[n]`, or right-hand sides `[..., n, m]` as columns.
        lower: whether the lower triangle is read, else the upper one.
        trans: 1 to solve `aᵀ x = b` instead.
        unit_diagonal: the diagonal is taken to be one and not read.

    Returns:
        `[n]` or `[..., n, m]`; stacks of matrices broadcast. A zero on the diagonal gives
        infinities or NaN.

    >>> solve_triangular(np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 9.0]), lower=True)
    array([1., 2.])
    """
    matrix, sides, is_vector = _system("solve_triangular", a, b)
    op = TriangularSolve(lower, bool(trans), unit_diagonal)
    return _unwrapped(emit(op, matrix, sides), is_vector)


@on_arrays_too
def cho_solve(factor: Any, b: Any, *, lower: bool = True) -> Any:
    """The x with `a x = b`, given a Cholesky factor of `a`, as of `np.linalg.cholesky`.

    Args:
        factor: `[..., n, n]`: L with `L Lᵀ = a`, or U with `Uᵀ U = a`.
        b: a vector `[n]`, or right-hand sides `[..., n, m]` as columns.
        lower: whether the factor is L, else U.

    Returns:
        `[n]` or `[..., n, m]`; stacks of matrices broadcast.

    >>> a = np.array([[4.0, 2.0], [2.0, 3.0]])
    >>> cho_solve(np.linalg.cholesky(a), np.array([8.0, 8.0])).round(12)
    array([1., 2.])
    """
    matrix, sides, is_vector = _system("cho_solve", factor, b)
    half = emit(TriangularSolve(lower, not lower), matrix, sides)
    return _unwrapped(emit(TriangularSolve(lower, lower), matrix, half), is_vector)


def _system(name: str, a: Any, b: Any) -> tuple[Tracer, Tracer, bool]:
    """Matrix and right-hand sides as the primitive takes them: matrices, with equal stacks."""
    matrix, sides = (
        x if x.type.dtype.is_float else cast(x, DType.F64) for x in promoted(a, b, what=name)
    )
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise TraceError(f"{name}: the matrix must be square, not {matrix.shape}")
    is_vector = sides.ndim == 1
    if is_vector:
        sides = reshape(sides, (*sides.shape, 1))
    if sides.ndim < 2 or sides.shape[-2] != matrix.shape[-1]:
        raise TraceError(
            f"{name}: right-hand sides of shape {np.shape(b)} do not fit {matrix.shape}"
        )
    stack = np.broadcast_shapes(matrix.shape[:-2], sides.shape[:-2])
    matrix = broadcast_to(matrix, (*stack, *matrix.shape[-2:]))
    return matrix, broadcast_to(sides, (*stack, *sides.shape[-2:])), is_vector


def _unwrapped(x: Tracer, is_vector: bool) -> Tracer:
    return reshape(x, x.shape[:-1]) if is_vector else x
