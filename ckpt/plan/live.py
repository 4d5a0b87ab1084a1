"""Half-open live ranges of buffers, counted in steps, and the bytes alive at each step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckpt.cost.scratch import scratch_bytes
from ckpt.ir.storage import in_place_operands
from ckpt.plan.schedule import Place, Schedule

Counts = np.ndarray[Any, np.dtype[np.int64]]

ALIGNMENT = 64
"""Bytes. A cache line, and the widest vector register of the processors we know."""


@dataclass(frozen=True, slots=True)
class LiveRange:
    """A stretch of the arena is needed during steps `start <= step < stop`.

    Attributes:
        versions: the versions that stand in it one after another: more than one when a result
            took over the memory of a dying operand. Empty for scratch.
        start: the first step, a step index.
        stop: one past the last step.
        nbytes: its size in bytes.
    """

    versions: tuple[int, ...]
    start: int
    stop: int
    nbytes: int


def live_ranges(schedule: Schedule) -> list[LiveRange]:
    """The live ranges of everything that stands in the arena, scratch included.

    A version lives from the step that writes it until its last read. Where an op allows it, a
    result takes over the memory of an operand that dies at its step (`takes_over`); the two are
    one range then.
    """
    versions = schedule.versions
    chain = [[i] for i in range(len(versions))]  # by the last version of each chain
    taken: set[int] = set()
    ranges: list[LiveRange] = []
    for number, step in enumerate(schedule.steps):
        old = takes_over(schedule, number)
        if old is not None:
            taken.add(old)
            new = step.writes[0]
            chain[new] = [*chain[old], new]
        scratch = scratch_bytes(schedule.eqn(number), schedule.stored)
        if scratch:
            ranges.append(LiveRange((), number, number + 1, scratch))
    for i, version in enumerate(versions):
        if version.place is Place.ARENA and i not in taken and version.root.type.nbytes:
            start = versions[chain[i][0]].start
            ranges.append(
                LiveRange(tuple(chain[i]), start, version.last + 1, version.root.type.nbytes)
            )
    return ranges


def takes_over(schedule: Schedule, number: int) -> int | None:
    """The version whose memory result 0 of a step takes over, if there is one.

    It is one that may be taken over (`storage.in_place_operands`), stands in the arena, and is
    read by no later step.
    """
    step = schedule.steps[number]
    eqn = schedule.eqn(number)
    if not step.writes or schedule.versions[step.writes[0]].place is not Place.ARENA:
        return None
    for k in in_place_operands(eqn, schedule.stored):
        old = schedule.versions[step.reads[k]]
        if old.place is Place.ARENA and old.last == number:
            return step.reads[k]
    return None


def live_bytes(ranges: Sequence[LiveRange], n_steps: int, unit: int = 1) -> Counts:
    """Bytes alive in the arena at each step, every range rounded up to a multiple of `unit`."""
    change = np.zeros(n_steps + 1, np.int64)
    for r in ranges:
        nbytes = -(-r.nbytes // unit) * unit
        change[r.start] += nbytes
        change[r.stop] -= nbytes
    return np.cumsum(change)[:n_steps]


def most_alive(ranges: Sequence[LiveRange], n_steps: int, unit: int = 1) -> int:
    """The most bytes alive in the arena at one step: no placement needs less."""
    return int(live_bytes(ranges, n_steps, unit).max(initial=0))
