"""Indices in NumPy's full generality, read once into a plan that reads or writes with it.

`x[index]` is done in four steps, each of which can be undone, so that a write is the same steps
backwards:

    region    slices and integers: a block of x, some axes reversed, those of integers dropped
    gather    all index arrays together as one `take` along one axis
    place     the axes of the index arrays moved to where NumPy puts them
    expand    an axis of length 1 for every None
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.lift import concrete, has_tracer
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Region:
    """The block of an array that slices and integers name.

    Attributes:
        start, stop, step: per axis, with positive steps.
        reversed: axes whose slice ran backwards.
        dropped: axes that an integer names.
    """

    start: Ints
    stop: Ints
    step: Ints
    reversed: Ints
    dropped: Ints

    @property
    def block(self) -> Ints:
        """The lengths of the block, dropped axes included."""
        bounds = zip(self.start, self.stop, self.step, strict=True)
        return tuple(-(-(j - i) // k) for i, j, k in bounds)

    @property
    def shape(self) -> Ints:
        """The lengths of the block without the dropped axes."""
        return tuple(n for i, n in enumerate(self.block) if i not in self.dropped)


@dataclass(frozen=True)
class Plan:
    """An index, ready for an array of one shape.

    Attributes:
        region: what slices and integers do.
        axes: the axes of the region's block that index arrays name.
        arrays: the index arrays, tracers or real ones, one per such axis.
        to_front: whether their axes come first in the result, being apart in the index.
        before: how many axes of the result come before those of the index arrays.
        new: the positions of new axes in the result.
    """

    region: Region
    axes: Ints
    arrays: tuple[Any, ...]
    to_front: bool
    before: int
    new: Ints


def plan_of(index: Any, shape: Ints) -> Plan:
    """Read an index of an array of a shape.

    Raises:
        IndexError: it has too many entries, or one that is not traced is out of bounds.
        TraceError: a slice bound is traced, or a mask is.
    """
    entries = _entries(index, len(shape))
    start, stop, step = [0] * len(shape), list(shape), [1] * len(shape)
    backwards: list[int] = []
    dropped: list[int] = []
    arrays: dict[int, Any] = {}
    places: list[int] = []  # entries that are integers or index arrays
    axis = 0
    for place, entry in enumerate(entries):
        if entry is None:
            continue
        n = shape[axis]
        if isinstance(entry, slice):
            start[axis], stop[axis], step[axis], runs_backwards = _bounds(entry, n)
            backwards += [axis] * runs_backwards
        elif isinstance(entry, int):
            at = _checked_integer(entry, n, axis)
            start[axis], stop[axis] = at, at + 1
            dropped.append(axis)
            places.append(place)
        else:
            _check_bounds(entry, n, axis)
            arrays[axis] = entry
            places.append(place)
        axis += 1
    is_advanced = any(np.ndim(a) for a in arrays.values())
    apart = bool(places) and places[-1] - places[0] + 1 != len(places)
    to_front = is_advanced and apart
    first = places[0] if places else 0
    before = 0 if to_front else sum(_stays(e) for e in entries[:first])
    region = Region(tuple(start), tuple(stop), tuple(step), tuple(backwards), tuple(dropped))
    axes = tuple(i - sum(d < i for d in dropped) for i in arrays)
    rank = np.broadcast(*(np.empty(np.shape(a)) for a in arrays.values())).ndim if arrays else 0
    new = _new_axes(entries, rank, to_front, first if is_advanced else None)
    return Plan(region, axes, tuple(arrays.values()), to_front, before, new)


def _stays(entry: Any) -> bool:
    return isinstance(entry, slice)


def _new_axes(entries: Sequence[Any], rank: int, to_front: bool, first: int | None) -> Ints:
    """Where the axes of None stand in the result, whose index arrays make `rank` axes."""
    new: list[int] = []
    at = rank if to_front else 0
    for place, entry in enumerate(entries):
        if place == first and not to_front:
            at += rank
        if entry is None:
            new.append(at)
        at += entry is None or _stays(entry)
    return tuple(new)


def _entries(index: Any, ndim: int) -> list[Any]:
    """One entry per axis or new axis: None, a slice, an int, a tracer or an index array."""
    given = list(index) if isinstance(index, tuple) else [index]
    entries: list[Any] = []
    for entry in given:
        entries += _masks_as_arrays(entry)
    taken = sum(e is not None and e is not Ellipsis for e in entries)
    if taken > ndim:
        raise IndexError(
            f"too many indices: the array has {ndim} axes, {taken} were indexed, "
            f"at {refusals.here()}"
        )
    ellipses = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    at = ellipses[0] if ellipses else len(entries)
    return entries[:at] + [slice(None)] * (ndim - taken) + entries[at + 1 :]


def _masks_as_arrays(entry: Any) -> list[Any]:
    """An entry in standard form; a mask becomes one index array per axis that it covers."""
    if entry is None or entry is Ellipsis or isinstance(entry, slice):
        return [entry]
    if isinstance(entry, Tracer):
        if entry.type.dtype is DType.BOOL:
            refusals.refuse(
                "a traced mask is used as an index, which gives a shape that depends on values",
                "Write np.where(mask, x, otherwise), or for a write "
                "x = np.where(mask, value, x); masks that are not traced may be indices.",
            )
        if not entry.type.dtype.is_integer:
            raise IndexError("arrays used as indices must be of integer (or boolean) type")
        return [entry]
    if isinstance(entry, (bool, np.bool_)):
        refusals.refuse_parameter(
            "x[...]", "a single bool as an index", "use None for a new axis, or np.where"
        )
    array = concrete(entry)
    if array.dtype == bool:
        return list(np.nonzero(array))
    if array.size == 0 and isinstance(entry, list):
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    return [int(array)] if array.ndim == 0 else [array]


def _bounds(entry: slice, n: int) -> tuple[int, int, int, bool]:
    """Start, stop and a positive step of a slice, and whether it runs backwards."""
    if has_tracer(entry.start, entry.stop, entry.step):
        refusals.refuse(
            "a slice has a traced bound, which gives a shape that depends on a value",
            "Write `x[start + np.arange(length)]` with a length that is a Python integer.",
        )
    start, stop, step = entry.indices(n)
    places = range(start, stop, step)
    if not places:
        return 0, 0, 1, False
    low, high = min(places[0], places[-1]), max(places[0], places[-1])
    return low, high + 1, abs(step) if len(places) > 1 else 1, step < 0


def _checked_integer(i: int, n: int, axis: int) -> int:
    if not -n <= i < n:
        raise IndexError(
            f"index {i} is out of bounds for axis {axis} with size {n}, at {refusals.here()}"
        )
    return i % n


def _check_bounds(entry: Any, n: int, axis: int) -> None:
    if isinstance(entry, Tracer) or not entry.size:
        return
    for i in (int(entry.min()), int(entry.max())):
        _checked_integer(i, n, axis)
