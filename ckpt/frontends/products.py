"""Products that sum: matmul, dot, tensordot and their like, all of them one `dot`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ckpt.frontends import refusals
from ckpt.frontends.dispatch import UFUNCS, rule_of
from ckpt.frontends.lets import array, broadcast_to, cast, emit, permute, reshape
from ckpt.frontends.promotion import converted, loop_dtypes, operand, promoted
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.ops.contract import Dot

Axes = tuple[int, ...]


def contraction(
    a: Tracer,
    b: Tracer,
    contract: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Tracer:
    """Sum of products over paired axes; axes come out as batch, rest of `a`, rest of `b`.

    Of bools, whether any product is true, as in NumPy.
    """
    dot = Dot(
        (tuple(contract[0]), tuple(contract[1])),
        (tuple(batch[0]), tuple(batch[1])),
    )
    if a.type.dtype is DType.BOOL:
        return cast(emit(dot, cast(a, DType.I64), cast(b, DType.I64)), DType.BOOL)
    return emit(dot, a, b)


def _last(x: Tracer) -> Axes:
    return (x.ndim - 1,)


def matmul(a: Tracer, b: Tracer) -> Tracer:
    """The matrix product of operands of one dtype, with NumPy's rules for vectors and stacks."""
    if not a.ndim or not b.ndim:
        raise ValueError(f"matmul: operands of 0 axes have no matrices, at {refusals.here()}")
    rows = (a.ndim - 2,) if a.ndim > 1 else ()
    inner = b.ndim - 2 if b.ndim > 1 else 0
    if a.shape[-1] != b.shape[inner]:
        raise ValueError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit: {a.shape[-1]} is not "
            f"{b.shape[inner]}, at {refusals.here()}"
        )
    left, right = a.shape[:-2], b.shape[:-2]
    if not right:  # one matrix or vector for the whole stack: one large product
        return contraction(a, b, (_last(a), (inner,)))
    if not left:
        out = contraction(a, b, (_last(a), (inner,)))
        n_rows, n_batch = len(rows), len(right)
        order = (
            *range(n_rows, n_rows + n_batch),
            *range(n_rows),
            *range(n_rows + n_batch, out.ndim),
        )
        return permute(out, order)
    common = np.broadcast_shapes(left, right)
    a = broadcast_to(a, (*common, *a.shape[-2:]))
    b = broadcast_to(b, (*common, *b.shape[-2:]))
    stack = tuple(range(len(common)))
    return contraction(a, b, (_last(a), (b.ndim - 2,)), (stack, stack))


def _vecdot(a: Tracer, b: Tracer) -> Tracer:
    if a.shape[-1:] != b.shape[-1:] or not a.ndim:
        raise ValueError(f"vecdot: shapes {a.shape} and {b.shape} do not fit")
    stack = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    a = broadcast_to(a, (*stack, a.shape[-1]))
    b = broadcast_to(b, (*stack, b.shape[-1]))
    axes = tuple(range(len(stack)))
    return contraction(a, b, (_last(a), _last(b)), (axes, axes))


def _matvec(a: Tracer, b: Tracer) -> Tracer:
    out = matmul(a, reshape(b, (*b.shape, 1)))
    return reshape(out, out.shape[:-1])


def _vecmat(a: Tracer, b: Tracer) -> Tracer:
    out = matmul(reshape(a, (*a.shape[:-1], 1, a.shape[-1])), b)
    return reshape(out, (*out.shape[:-2], out.shape[-1]))


def _register(name: str, body: Any) -> None:
    ufunc = getattr(np, name, None)
    if ufunc is None:  # vecdot is of NumPy 2.0, matvec and vecmat of 2.2
        return

    def rule(x1: Any, x2: Any, /, **given: Any) -> Tracer:
        unknown = set(given) - {"dtype", "casting", "order"}
        if unknown:
            refusals.refuse_parameter(f"np.{name}", f"{min(unknown)}=", "move the axes before")
        given.pop("order", None)
        xs = (operand(x1), operand(x2))
        dtypes = loop_dtypes(ufunc, xs, **given)
        return body(*(converted(x, d) for x, d in zip(xs, dtypes, strict=False)))

    UFUNCS[ufunc] = rule


_register("matmul", matmul)
_register("vecdot", _vecdot)
_register("matvec", _matvec)
_register("vecmat", _vecmat)


@rule_of(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    """`np.linalg.matmul`."""
    return np.matmul(x1, x2)


@rule_of(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
    """`np.linalg.vecdot`."""
    x1, x2 = promoted(x1, x2, what="np.linalg.vecdot")
    return _vecdot(*(permute(x, _to_end(x, axis)) for x in (x1, x2)))


def _to_end(x: Tracer, axis: Any) -> Axes:
    (i,) = normalize_axis_tuple(axis, x.ndim)
    return (*(k for k in range(x.ndim) if k != i), i)


@rule_of(np.dot)
def dot(a: Any, b: Any, out: None = None) -> Any:
    """`np.dot`: over the last axis of a and the last but one of b; by a scalar, a product."""
    del out
    x, y = promoted(array(a), array(b), what="np.dot")
    if not x.ndim or not y.ndim:
        return np.multiply(x, y)
    inner = max(y.ndim - 2, 0)
    _require_equal("np.dot", x, y, x.shape[-1], y.shape[inner])
    return contraction(x, y, (_last(x), (inner,)))


def _require_equal(name: str, a: Tracer, b: Tracer, *lengths: int) -> None:
    if len(set(lengths)) > 1:
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape} do not fit, at {refusals.here()}")


@rule_of(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """`np.inner`: over the last axes."""
    x, y = promoted(array(a), array(b), what="np.inner")
    if not x.ndim or not y.ndim:
        return np.multiply(x, y)
    _require_equal("np.inner", x, y, x.shape[-1], y.shape[-1])
    return contraction(x, y, (_last(x), _last(y)))


@rule_of(np.vdot)
def vdot(a: Any, b: Any, /) -> Tracer:
    """`np.vdot`: over all elements."""
    x, y = promoted(array(a), array(b), what="np.vdot")
    _require_equal("np.vdot", x, y, x.size, y.size)
    return contraction(reshape(x, (x.size,)), reshape(y, (y.size,)), ((0,), (0,)))


@rule_of(np.outer)
def outer(a: Any, b: Any, out: None = None) -> Any:
    """`np.outer`: every product of two elements."""
    del out
    x, y = array(a), array(b)
    return np.multiply(reshape(x, (x.size, 1)), reshape(y, (y.size,)))


@rule_of(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    """`np.linalg.outer`."""
    return outer(x1, x2)


@rule_of(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Tracer:
    """`np.tensordot`: over the last n axes of a and the first n of b, or over given pairs."""
    x, y = promoted(array(a), array(b), what="np.tensordot")
    if np.ndim(axes) == 0:
        n = int(axes)
        left, right = tuple(range(x.ndim - n, x.ndim)), tuple(range(n))
    else:
        left = normalize_axis_tuple(axes[0], x.ndim, "axes")
        right = normalize_axis_tuple(axes[1], y.ndim, "axes")
    fits = len(left) == len(right) and min(left, default=0) >= 0 and len(right) <= y.ndim
    if not fits or any(x.shape[i] != y.shape[j] for i, j in zip(left, right, strict=True)):
        raise ValueError(
            f"np.tensordot: axes {axes} of shapes {x.shape} and {y.shape} do not fit, "
            f"at {refusals.here()}"
        )
    return contraction(x, y, (left, right))


@rule_of(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Tracer:
    """`np.linalg.tensordot`."""
    return tensordot(x1, x2, axes)


@rule_of(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: None = None) -> Any:
    """`np.linalg.multi_dot`: in the order that `np.einsum_path` finds cheapest."""
    del out
    xs = [array(x) for x in arrays]
    letters = "abcdefghijklmnopqrstuvwxyz"
    if not 2 <= len(xs) < len(letters):
        raise ValueError("np.linalg.multi_dot takes at least two arrays, and at most 25")
    names = [letters[i : i + 2] for i in range(len(xs))]
    if xs[0].ndim == 1:
        names[0] = names[0][1:]
    if xs[-1].ndim == 1:
        names[-1] = names[-1][:1]
    ends = (names[0][:-1]) + (names[-1][1:])
    return np.einsum(f"{','.join(names)}->{ends}", *xs)  # pyright: ignore[reportCallIssue, reportArgumentType]


@rule_of(np.cross)
def cross(  # noqa: PLR0917
    a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None
) -> Any:
    """`np.cross`, of vectors of three."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = (
        permute(v, _to_end(v, i)) for v, i in zip(map(array, (a, b)), (axisa, axisb), strict=True)
    )
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        refusals.refuse_parameter("np.cross", "vectors that are not of three", "append zeros")

    def turned(v: Tracer, by: int) -> Any:
        return np.roll(v, by, axis=-1)  # pyright: ignore[reportCallIssue, reportArgumentType]

    out = turned(x, -1) * turned(y, -2) - turned(x, -2) * turned(y, -1)
    return np.moveaxis(out, -1, axisc)
