"""Diagonals and triangles of matrices."""

from typing import Any

import numpy as np

from ckpt.frontends.axes import axis_of
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.lets import array, broadcast_to, cut, cut_axis, emit, pad, permute, reshape
from ckpt.frontends.reductions import sum as total
from ckpt.frontends.shapes import ravel
from ckpt.frontends.tracer import Tracer
from ckpt.ops.linalg import Triangle


def diagonal_of(x: Tracer, offset: int) -> Tracer:
    """The diagonal of the last two axes, as the last axis.

    In row-major order its elements stand `columns + 1` apart, so that it is a slice with a step.
    """
    *rest, rows, columns = x.shape
    start = offset if offset >= 0 else -offset * columns
    length = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    if not length:
        return reshape(cut_axis(x, x.ndim - 2, 0, 0), (*rest, 0))
    flat = reshape(x, (*rest, rows * columns))
    stop = start + (length - 1) * (columns + 1) + 1
    n = len(rest)
    return cut(flat, (0,) * n + (start,), (*rest, stop), (1,) * n + (columns + 1,))


@rule_of(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: Any = 0, axis2: Any = 1) -> Tracer:
    """`np.diagonal`."""
    x = array(a)
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    order = [*(k for k in range(x.ndim) if k not in (i, j)), i, j]
    return diagonal_of(permute(x, order), offset)


@rule_of(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Tracer:
    """`np.linalg.diagonal`: of the last two axes."""
    return diagonal(x, offset, -2, -1)


@rule_of(np.trace)
def trace(  # noqa: PLR0917
    a: Any, offset: int = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: None = None
) -> Tracer:
    """`np.trace`: the sum of the diagonal."""
    return total(diagonal(a, offset, axis1, axis2), -1, dtype, out)


@rule_of(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tracer:
    """`np.linalg.trace`: of the last two axes."""
    return trace(x, offset, -2, -1, dtype)


@rule_of(np.diag)
def diag(v: Any, k: int = 0) -> Tracer:
    """`np.diag`: the matrix with a diagonal, or the diagonal of a matrix."""
    x = array(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = x.size + abs(k)
    if not x.size:
        return reshape(pad(x, (0,), (n * n,)), (n, n))
    # Elements n + 1 apart in row-major order: a row of zeros after each, but for the last.
    spread = pad(reshape(x, (x.size, 1)), (0, 0), (0, n))
    start = k if k >= 0 else -k * n
    flat = reshape(spread, (x.size * (n + 1),))
    flat = cut_axis(flat, 0, 0, min(flat.size, n * n - start))
    return reshape(pad(flat, (start,), (n * n - start - flat.size,)), (n, n))


@rule_of(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Tracer:
    """`np.diagflat`."""
    return diag(ravel(v), k)


@rule_of(np.tril)
def tril(m: Any, k: int = 0) -> Tracer:
    """`np.tril`: zeros above the k-th diagonal."""
    return _triangle(m, Triangle(keeps_lower=True, k=k))


@rule_of(np.triu)
def triu(m: Any, k: int = 0) -> Tracer:
    """`np.triu`: zeros below the k-th diagonal."""
    return _triangle(m, Triangle(keeps_lower=False, k=k))


def _triangle(m: Any, op: Triangle) -> Tracer:
    x = array(m)
    if x.ndim < 2:  # a vector is a row that is repeated
        x = broadcast_to(x, (x.size, x.size))
    return emit(op, x)
