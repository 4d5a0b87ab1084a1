"""`np.pad`: constant, edge, reflect, symmetric and wrap."""

from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.joining import joined
from ckpt.frontends.lets import array, broadcast_to, cast, cut_axis, flip
from ckpt.frontends.lets import pad as zeros
from ckpt.frontends.tracer import Tracer


@rule_of(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **given: Any) -> Tracer:
    """`np.pad`, with pad widths that are Python integers."""
    x = _of(array)
    if isinstance(pad_width, dict):
        named: dict[int, Any] = pad_width
        pairs = [(0, 0)] * x.ndim
        for axis, width in named.items():
            pairs[axis] = width if isinstance(width, tuple) else (width, width)
        pad_width = pairs
    widths = [(int(a), int(b)) for a, b in np.broadcast_to(pad_width, (x.ndim, 2)).tolist()]
    if any(w < 0 for pair in widths for w in pair):
        raise ValueError("index can't contain negative values")
    if mode == "constant":
        return _constant(x, widths, given.pop("constant_values", 0))
    grow = {"edge": _edge, "reflect": _reflect, "symmetric": _symmetric, "wrap": _wrap}.get(mode)
    if grow is None or given.get("reflect_type", "even") != "even":
        refusals.refuse_parameter(
            "np.pad", f"mode={mode!r}", "use constant, edge, reflect, symmetric or wrap"
        )
    for axis, (before, after) in enumerate(widths):
        if (before or after) and not x.shape[axis]:
            raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant'")
        x = grow(x, axis, before, after)
    return x


def _of(x: Any) -> Tracer:
    return array(x)


def _constant(x: Tracer, widths: list[tuple[int, int]], values: Any) -> Tracer:
    if not isinstance(values, Tracer) and not np.any(values):
        return zeros(x, [a for a, _ in widths], [b for _, b in widths])
    if isinstance(values, Tracer):
        values = np.broadcast_to(values, (x.ndim, 2))  # pyright: ignore[reportArgumentType, reportCallIssue]
    else:
        values = np.broadcast_to(values, (x.ndim, 2))
    for axis, pair in enumerate(widths):
        ends = [
            broadcast_to(
                cast(array(values[axis, side]), x.type.dtype),
                (*x.shape[:axis], width, *x.shape[axis + 1 :]),
            )
            for side, width in enumerate(pair)
        ]
        x = joined([ends[0], x, ends[1]], axis) if any(pair) else x
    return x


def _edge(x: Tracer, axis: int, before: int, after: int) -> Tracer:
    n = x.shape[axis]

    def repeated(at: int, width: int) -> Tracer:
        shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
        return broadcast_to(cut_axis(x, axis, at, at + 1), shape)

    if not before and not after:
        return x
    return joined([repeated(0, before), x, repeated(n - 1, after)], axis)


def _reflect(x: Tracer, axis: int, before: int, after: int) -> Tracer:
    if x.shape[axis] == 1:  # there is nothing to reflect but the edge
        return _edge(x, axis, before, after)
    return _mirrored(x, axis, before, after, skip=1)


def _symmetric(x: Tracer, axis: int, before: int, after: int) -> Tracer:
    return _mirrored(x, axis, before, after, skip=0)


def _mirrored(x: Tracer, axis: int, before: int, after: int, skip: int) -> Tracer:
    """Mirror images of the array as it is so far, until both ends are wide enough."""
    while before or after:
        n = x.shape[axis]
        left, right = min(before, n - skip), min(after, n - skip)
        low = flip(cut_axis(x, axis, skip, skip + left), (axis,))
        high = flip(cut_axis(x, axis, n - skip - right, n - skip), (axis,))
        x = joined([low, x, high], axis)
        before, after = before - left, after - right
    return x


def _wrap(x: Tracer, axis: int, before: int, after: int) -> Tracer:
    n = x.shape[axis]
    if not before and not after:
        return x
    parts: list[Tracer] = []
    if before % n:
        parts.append(cut_axis(x, axis, n - before % n, n))
    parts += [x] * (before // n + 1 + after // n)
    if after % n:
        parts.append(cut_axis(x, axis, 0, after % n))
    return joined(parts, axis)
