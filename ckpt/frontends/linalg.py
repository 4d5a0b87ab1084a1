"""`np.linalg`: norms, powers and factorisations of matrices."""

from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.axes import axes_of, axis_of, keeping
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.lets import array, cast, emit, permute
from ckpt.frontends.reductions import max as largest
from ckpt.frontends.reductions import min as smallest
from ckpt.frontends.reductions import sum as total
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.ops.linalg import Cholesky


def _floating(a: Any) -> Tracer:
    x = array(a)
    return x if x.type.dtype.is_float else cast(x, DType.F64)


@rule_of(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    """`np.linalg.norm`: every vector norm; of matrices fro, 1, -1, inf and -inf."""
    v = _floating(x)
    axes = axes_of(axis, v.ndim)
    if ord is None:
        return keeping(array(np.sqrt(total(np.square(v), axes))), v.shape, axes, keepdims)
    if len(axes) == 1:
        return _vector_norm(v, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    # The order of the axes matters here: rows first.
    i, j = (axis_of(a, v.ndim) for a in (axis if axis is not None else (0, 1)))
    return _matrix_norm(v, ord, i, j, keepdims)


def _vector_norm(v: Tracer, order: Any, axis: int, keepdims: bool) -> Any:
    size: Any = np.abs(v)
    match order:
        case 2:
            return np.sqrt(total(np.square(v), axis, keepdims=keepdims))
        case 1:
            return total(size, axis, keepdims=keepdims)
        case 0:
            return total(cast(array(v != 0), v.type.dtype), axis, keepdims=keepdims)
        case _ if order == np.inf:
            return largest(size, axis, keepdims=keepdims)
        case _ if order == -np.inf:
            return smallest(size, axis, keepdims=keepdims)
        case str():
            raise ValueError(f"Invalid norm order '{order}' for vectors")
        case _:
            powers = total(np.power(size, order), axis, keepdims=keepdims)
            return np.power(powers, 1 / order)


def _matrix_norm(v: Tracer, order: Any, i: int, j: int, keepdims: bool) -> Any:
    if order == "fro":
        return keeping(array(np.sqrt(total(np.square(v), (i, j)))), v.shape, (i, j), keepdims)
    if order not in (1, -1, np.inf, -np.inf):
        refusals.refuse_parameter(
            "np.linalg.norm", f"ord={order!r} of a matrix", "use fro, 1, -1, inf or -inf"
        )
    inner, outer = (i, j) if abs(order) == 1 else (j, i)
    sums = total(np.abs(v), inner, keepdims=True)
    best = (largest if order > 0 else smallest)(sums, outer, keepdims=True)
    return best if keepdims else np.squeeze(best, (i, j))


@rule_of(np.linalg.vector_norm)
def vector_norm(
    x: Any,
    /,
    *,
    axis: Any = None,
    keepdims: bool = False,
    ord: Any = 2,  # noqa: A002
) -> Any:
    """`np.linalg.vector_norm`: of all elements by default."""
    v = _floating(x)
    axes = axes_of(axis, v.ndim)
    rest = [k for k in range(v.ndim) if k not in axes]
    flat: Any = np.reshape(permute(v, [*rest, *axes]), (*(v.shape[k] for k in rest), -1))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return keeping(_vector_norm(flat, ord, len(rest), False), v.shape, axes, keepdims)


@rule_of(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:  # noqa: A002
    """`np.linalg.matrix_norm`: fro, 1, -1, inf and -inf, of the last two axes."""
    v = _floating(x)
    return _matrix_norm(v, ord, v.ndim - 2, v.ndim - 1, keepdims)


@rule_of(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Tracer:
    """`np.linalg.cholesky`; NaN where NumPy raises, since what a matrix is shows only at run."""
    x = _floating(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    if not upper:
        return emit(Cholesky(), x)
    last = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return permute(emit(Cholesky(), permute(x, last)), last)


@rule_of(np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """`np.linalg.matrix_transpose`."""
    return np.swapaxes(array(x), -1, -2)  # pyright: ignore[reportCallIssue, reportArgumentType]


@rule_of(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """`np.linalg.matrix_power`, for n of at least one, by repeated squaring."""
    if n < 1:
        refusals.refuse_parameter("np.linalg.matrix_power", f"n={n}", "use n of at least one")
    square: Any = array(a)
    result: Any = None
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        square = square @ square if n else square
    return result
