"""Emission of single primitives on tracers, with identities left out.

The IR is strict where NumPy is generous: these functions insert the casts, reshapes and
broadcasts, and are the only place that knows how.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from ckpt.frontends.lift import lift
from ckpt.frontends.tracer import Tracer
from ckpt.frontends.tracing import current
from ckpt.ir.build import lit
from ckpt.ir.op import Op
from ckpt.ir.program import Lit, Var
from ckpt.ir.types import DType
from ckpt.ops.arithmetic import Add, Cast
from ckpt.ops.broadcast import Broadcast, Sum
from ckpt.ops.elementwise import Elementwise
from ckpt.ops.pieces import Pad, Slice
from ckpt.ops.shape import Flip, Permute, Reshape

Shape = tuple[int, ...]


def emits(op: Op, *xs: Tracer) -> tuple[Tracer, ...]:
    """One let in the innermost trace, and its results."""
    trace = current()
    assert trace is not None
    ins = [lift(x) for x in xs]
    if not isinstance(op, (Elementwise, Broadcast)):  # the rest works on buffers
        ins = [stored(x) for x in ins]
    return tuple(Tracer(trace, v) for v in trace.emit(op, *(x.atom for x in ins)))


def emit(op: Op, *xs: Tracer) -> Tracer:
    """One let with one result."""
    (out,) = emits(op, *xs)
    return out


def stored(x: Tracer) -> Tracer:
    """The value as a variable: a literal is written to memory."""
    return x if isinstance(x.atom, Var) else emit(Broadcast((), ()), x)


def number(value: float, dtype: DType) -> Tracer:
    """A literal of a dtype."""
    trace = current()
    assert trace is not None
    return Tracer(trace, lit(value, dtype))


def full(shape: Shape, value: float, dtype: DType) -> Tracer:
    """An array filled with a number."""
    return emit(Broadcast(shape, ()), number(value, dtype))


def cast(x: Tracer, dtype: DType) -> Tracer:
    """The value in another dtype; no longer a Python number to the rules of promotion.

    Raises:
        OverflowError: a literal integer does not fit.
    """
    if isinstance(x.atom, Lit):
        return Tracer(x.scope, lit(x.atom.value, dtype))
    if x.type.dtype is dtype:
        return Tracer(x.scope, x.atom) if x.weak else x
    return emit(Cast(dtype), x)


def array(x: Any) -> Tracer:
    """The value in the innermost trace, with a dtype of its own even if it was a Python number."""
    x = lift(x)
    return cast(x, x.type.dtype)


def reshape(x: Tracer, shape: Shape) -> Tracer:
    """The elements in row-major order in another shape of the same size."""
    if x.shape == shape:
        return x
    if isinstance(x.atom, Lit):
        return emit(Broadcast(shape, ()), x)
    return emit(Reshape(shape), x)


def permute(x: Tracer, axes: Sequence[int]) -> Tracer:
    """Axis `i` of the result is axis `axes[i]` of the operand."""
    order = tuple(axes)
    return x if order == tuple(range(x.ndim)) else emit(Permute(order), x)


def broadcast_to(x: Tracer, shape: Shape) -> Tracer:
    """The value repeated along new axes on the left and along axes of length 1."""
    if x.shape == shape:
        return x
    new = len(shape) - x.ndim
    kept = [i for i, n in enumerate(x.shape) if n == shape[i + new]]
    dropped = reshape(x, tuple(x.shape[i] for i in kept))
    return emit(Broadcast(shape, tuple(i + new for i in kept)), dropped)


def along(x: Tracer, axes: Sequence[int], shape: Shape) -> Tracer:
    """Axis `i` of the value becomes axis `axes[i]` of `shape`; it is repeated along the others."""
    if tuple(axes) == tuple(range(len(shape))):
        return x
    return emit(Broadcast(shape, tuple(axes)), x)


def aligned(x: Tracer, shape: Shape) -> Tracer:
    """The value as an elementwise op takes it: of the result's shape, or a scalar."""
    if x.shape == shape:
        return x
    return reshape(x, ()) if x.size == 1 else broadcast_to(x, shape)


def flip(x: Tracer, axes: Sequence[int]) -> Tracer:
    """The elements in reverse order along axes."""
    backwards = tuple(i for i in axes if x.shape[i] > 1)
    return emit(Flip(backwards), x) if backwards else x


def cut(
    x: Tracer, start: Sequence[int], stop: Sequence[int], step: Sequence[int] | None = None
) -> Tracer:
    """Every step-th element from start to stop, per axis; all of `0 <= start <= stop <= n`."""
    steps = tuple(step or (1,) * x.ndim)
    lengths = zip(start, stop, steps, x.shape, strict=True)
    if all(i == 0 and j == n and (k == 1 or n <= 1) for i, j, k, n in lengths):
        return x
    return emit(Slice(tuple(start), tuple(stop), steps), x)


def cut_axis(x: Tracer, axis: int, start: int, stop: int) -> Tracer:
    """The part from start to stop of one axis."""
    low, high = [0] * x.ndim, list(x.shape)
    low[axis], high[axis] = start, stop
    return cut(x, low, high)


def pad(x: Tracer, low: Sequence[int], high: Sequence[int]) -> Tracer:
    """Zeros around the elements, per axis."""
    if not any(low) and not any(high):
        return x
    return emit(Pad(tuple(low), tuple(high), (0,) * x.ndim), x)


def total(x: Tracer, axes: Sequence[int]) -> Tracer:
    """The sum over axes, in the value's own dtype."""
    return emit(Sum(tuple(sorted(axes))), x) if axes else x


def add(x: Tracer, y: Tracer) -> Tracer:
    """The sum of two values of one dtype and shape."""
    return emit(Add(), x, y)


def size_of(shape: Shape, axes: Sequence[int]) -> int:
    """The number of elements along axes."""
    return prod(shape[i] for i in axes)
