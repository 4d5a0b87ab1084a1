"""A plan as a table that a few machine instructions can run: kernels, and a record per call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np

from ckpt.codegen.calls import Address, Call, calls_of
from ckpt.codegen.kernels import Signature
from ckpt.codegen.tiles import tiles_of
from ckpt.ir.layout import Layout
from ckpt.ir.program import Lit, Program, Var
from ckpt.ir.storage import storage
from ckpt.plan.plan import Plan, Run
from ckpt.plan.schedule import Place

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Table:
    """Calls in order, with addresses relative to buffers whose places are known per run.

    Buffers are numbered: the arena, the constants, then inputs, then outputs.

    Attributes:
        kernels: the distinct kernels.
        which: per call, its kernel.
        starts: per call, the first word of its record.
        positions: per call, the position of its step in the plan.
        tasks: per task, its first call, one past its last, and how many tasks must be done before.
        words: all records, one after another; a word that is an address holds the bytes from the
            start of its buffer.
        patched: the words that are addresses.
        buffers: of each patched word, the number of its buffer.
        constants: the bytes of literal operands, eight each.
        n_buffers: how many buffers there are.
    """

    kernels: tuple[Signature, ...]
    which: Ints
    starts: Ints
    positions: Ints
    tasks: Ints
    words: Ints
    patched: Ints
    buffers: Ints
    constants: Ints
    n_buffers: int


ARENA, CONSTANTS, FIRST_INPUT = 0, 1, 2

MOST_CALLS = 256
"""Of a task: between tasks a step can be interrupted."""


def table_of(program: Program, plan: Plan) -> Table:
    """Lay out the calls of every step of a plan.

    Raises:
        CodegenError: a let has no kernel.
    """
    stored = storage(program)
    calls: dict[int, list[list[Call]]] = {}
    kernels: dict[Signature, int] = {}
    constants: dict[bytes, int] = {}
    positions: list[int] = []
    tasks = _Tasks()
    which: list[int] = []
    starts: list[int] = []
    words: list[int] = []
    patched: list[int] = []
    buffers: list[int] = []
    for position, step in enumerate(plan.steps):
        eqn = program.eqns[step.let]
        if step.let not in calls:  # every run of a let makes the same calls
            layouts = [
                stored[x].layout if isinstance(x, Var) else Layout.contiguous(()) for x in eqn.ins
            ]
            calls[step.let] = [tiles_of(call) for call in calls_of(eqn, layouts)]
        place = _placer(program, plan, step, constants)
        for tiles in calls[step.let]:
            tasks.add(len(tiles))
            positions += [position] * len(tiles)
        for call in chain.from_iterable(calls[step.let]):
            which.append(kernels.setdefault(call.kernel, len(kernels)))
            starts.append(len(words))
            for word in call.words:
                if isinstance(word, Address):
                    buffer, offset = place(word)
                    patched.append(len(words))
                    buffers.append(buffer)
                    words.append(offset)
                else:
                    words.append(word)
    return Table(
        kernels=tuple(kernels),
        which=np.array(which, np.int64),
        starts=np.array(starts, np.int64),
        positions=np.array(positions, np.int64),
        tasks=np.array(tasks.tasks, np.int64).reshape(-1, 3),
        words=np.array(words, np.int64),
        patched=np.array(patched, np.int64),
        buffers=np.array(buffers, np.int64),
        constants=np.frombuffer(b"".join(constants) or bytes(8), np.int64).copy(),
        n_buffers=FIRST_INPUT + len(program.ins) + len(program.outs),
    )


class _Tasks:
    """Calls grouped into tasks: tiles of one call side by side, other calls one after another."""

    def __init__(self) -> None:
        self.tasks: list[list[int]] = []
        self._calls = 0
        self._alone = False

    def add(self, n_tiles: int) -> None:
        """The next call."""
        if n_tiles == 1 and self._alone and self._calls - self.tasks[-1][0] < MOST_CALLS:
            self._calls += 1
            self.tasks[-1][1] = self._calls
            return
        self._alone = n_tiles == 1
        done = len(self.tasks)
        for _ in range(n_tiles):
            self.tasks.append([self._calls, self._calls + 1, done])
            self._calls += 1


def _placer(
    program: Program, plan: Plan, step: Run, constants: dict[bytes, int]
) -> Callable[[Address], tuple[int, int]]:
    """Where operands, results and scratch of a step stand: a buffer and bytes from its start."""
    ins = program.eqns[step.let].ins
    first_output = FIRST_INPUT + len(program.ins)

    def slot(number: int, offset: int) -> tuple[int, int]:
        at = plan.slots[number]
        if at.place is Place.ARENA:
            return ARENA, at.offset + offset
        first = FIRST_INPUT if at.place is Place.INPUT else first_output
        return first + at.offset, offset

    def place(address: Address) -> tuple[int, int]:
        if address.kind == "scratch":
            return ARENA, step.scratch_offset + address.offset
        if address.kind == "out":
            return slot(step.writes[address.number], address.offset)
        x = ins[address.number]
        if isinstance(x, Lit):
            return CONSTANTS, 8 * constants.setdefault(_bytes(x), len(constants))
        return slot(step.reads[address.number], address.offset)

    return place


def _bytes(x: Lit) -> bytes:
    """A literal as it stands in memory, padded to eight bytes."""
    return x.dtype.numpy.type(x.value).tobytes().ljust(8, b"\0")


def entries(table: Table, functions: Sequence[int], words: Ints) -> Ints:
    """Per call: the address of its kernel and the address of its record."""
    made = np.empty((len(table.which), 2), np.int64)
    made[:, 0] = np.array(functions, np.int64)[table.which] if len(functions) else 0
    made[:, 1] = words.ctypes.data + 8 * table.starts
    return made


def addresses(table: Table) -> list[tuple[Ints, Ints]]:
    """Per buffer, the words that are addresses in it, and their bytes from its start."""
    order = np.argsort(table.buffers, kind="stable")
    ends = np.searchsorted(table.buffers[order], np.arange(table.n_buffers + 1))
    words = [table.patched[order[a:b]] for a, b in pairwise(ends)]
    return [(where, table.words[where]) for where in words]
