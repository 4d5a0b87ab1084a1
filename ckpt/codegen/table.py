"""A plan as a table that a few machine instructions can run: kernels, and a record per call."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ckpt.codegen.calls import calls_of
from ckpt.codegen.crew import CREW_WORDS, MEMBERS, MOST_TILES
from ckpt.codegen.drivers.frame import WORDS as FRAME_WORDS
from ckpt.codegen.kernels import MapKernel, ReduceKernel, ShareKernel, Signature
from ckpt.codegen.proof import prove
from ckpt.codegen.record import Address, Call, Frame, SlowMemory
from ckpt.codegen.tiles import tiles_of
from ckpt.ir.layout import Layout
from ckpt.ir.program import Lit, Program, Var
from ckpt.ir.storage import storage
from ckpt.plan.nested import placed
from ckpt.plan.plan import Plan, Run
from ckpt.plan.schedule import Place

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Table:
    """Calls in order, with addresses relative to buffers whose places are known per run.

    Buffers are numbered: the arena, the constants, the words, then inputs, then outputs. The
    words begin with the crew, and also hold the tables of programs that ops hold, as drivers read
    them.

    Attributes:
        kernels: the distinct kernels.
        which: per call, its kernel.
        starts: per call, the first word of its record.
        positions: per call, the position of its step in the plan.
        tasks: per task, its first call, one past its last, and how many tasks must be done before.
        shared: the positions of steps in whose loops tiles are shared.
        words: all records, one after another; a word that is an address holds the bytes from the
            start of its buffer.
        patched: the words that are addresses.
        buffers: of each patched word, the number of its buffer.
        functions: pairs: a word that is the address of a kernel, and which kernel.
        frames: of programs that ops hold: the program and the first word of its frame.
        slow: pairs: a word that is an address in slow memory, and bytes from its start.
        slow_bytes: of slow memory, which nobody but its calls writes to.
        constants: the bytes of literal operands, eight each.
        n_buffers: how many buffers there are.
    """

    kernels: tuple[Signature, ...]
    which: Ints
    starts: Ints
    positions: Ints
    tasks: Ints
    shared: Ints
    words: Ints
    patched: Ints
    buffers: Ints
    functions: Ints
    frames: tuple[tuple[Program, int], ...]
    slow: Ints
    slow_bytes: int
    constants: Ints
    n_buffers: int


ARENA, CONSTANTS, WORDS, FIRST_INPUT = 0, 1, 2, 3

_Where = Callable[[Address], tuple[int, int]]
_Note = Callable[[int, int, int], None]

_WORTH_TILES = 4
"""Tiles of an elementwise call or a reduction in a loop that are worth sharing, at least."""

MOST_CALLS = 256
"""Of a task: between tasks a step can be interrupted."""


def table_of(program: Program, plan: Plan) -> Table:
    """Lay out the calls of every step of a plan.

    Raises:
        CodegenError: a let has no kernel.
    """
    layout, tasks = _Layout(), _Tasks()
    which: list[int] = []
    starts: list[int] = []
    positions: list[int] = []
    shared: dict[int, None] = {}
    for position, tiles, place in _calls(program, plan, layout.constants):
        tasks.add(len(tiles))
        positions += [position] * len(tiles)
        stages = layout.n_stages
        for call in tiles:
            which.append(layout.kernel(call.kernel))
            starts.append(layout.record(call, place, layout.patch))
        if layout.n_stages > stages:
            shared[position] = None
    return Table(
        kernels=tuple(layout.kernels),
        which=np.array(which, np.int64),
        starts=np.array(starts, np.int64),
        positions=np.array(positions, np.int64),
        tasks=np.array(tasks.tasks, np.int64).reshape(-1, 3),
        shared=np.array(list(shared), np.int64),
        words=np.array(layout.words, np.int64),
        patched=np.array(list(layout.patched), np.int64),
        buffers=np.array(list(layout.patched.values()), np.int64),
        functions=np.array(layout.functions, np.int64).reshape(-1, 2),
        frames=tuple(layout.frames),
        slow=np.array(layout.slow, np.int64).reshape(-1, 2),
        slow_bytes=layout.slow_bytes,
        constants=np.frombuffer(b"".join(layout.constants) or bytes(8), np.int64).copy(),
        n_buffers=FIRST_INPUT + len(program.ins) + len(program.outs),
    )


def _calls(
    program: Program,
    plan: Plan,
    constants: dict[bytes, int],
    same: Sequence[tuple[int, int]] = (),
) -> Iterator[tuple[int, list[Call], _Where]]:
    """The tiles of every call of a plan, its step, and where that finds what it works on.

    What would be copied to where it stands already is left out.
    """
    buffers = {FIRST_INPUT + len(program.ins) + k: FIRST_INPUT + i for i, k in same}
    stored = storage(program)
    calls: dict[int, list[list[Call]]] = {}
    alike: dict[tuple[Any, ...], list[list[Call]]] = {}
    for position, step in enumerate(plan.steps):
        eqn = program.eqns[step.let]
        if step.let not in calls:  # every run of a let makes the same calls
            layouts = [
                stored[x].layout if isinstance(x, Var) else Layout.contiguous(()) for x in eqn.ins
            ]
            types = (*(x.type for x in eqn.ins), *(v.type for v in eqn.outs))
            key = (id(eqn.op), types, *layouts)  # lets of unrolled loops share their ops
            if key not in alike:
                prove(eqn.op)
                alike[key] = [tiles_of(call) for call in calls_of(eqn, layouts)]
            calls[step.let] = alike[key]
        place = _placer(program, plan, step, constants)
        for tiles in calls[step.let]:
            ends = [place(word) for word in tiles[0].words[:2] if isinstance(word, Address)]
            if tiles[0].copies and len({(buffers.get(b, b), offset) for b, offset in ends}) == 1:
                continue
            yield position, tiles, place


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


class _Layout:
    """Words as they are laid out: the crew, records, and frames of programs that drivers run.

    Attributes:
        n_stages: how many calls inside frames have tiles.
    """

    def __init__(self) -> None:
        self.kernels: dict[Signature, int] = {}
        self.constants: dict[bytes, int] = {}
        self.words: list[int] = [0] * CREW_WORDS
        self.words[MEMBERS] = 1
        self.n_stages = 0
        self.patched: dict[int, int] = {}
        self.functions: list[tuple[int, int]] = []
        self.frames: list[tuple[Program, int]] = []
        self.slow: list[tuple[int, int]] = []
        self.slow_bytes = 0

    def kernel(self, signature: Signature) -> int:
        """The number of a kernel."""
        return self.kernels.setdefault(signature, len(self.kernels))

    def patch(self, word: int, buffer: int, offset: int) -> None:
        """A word is an address: the start of a buffer and an offset."""
        self.words[word] = offset
        self.patched[word] = buffer

    def record(self, call: Call, place: _Where, note: _Note) -> int:
        """Lay out a record; `note` is told of the words that are addresses. Its first word."""
        frames = {
            k: self.frame(word) for k, word in enumerate(call.words) if isinstance(word, Frame)
        }
        start = len(self.words)
        self.words += [word if isinstance(word, int) else 0 for word in call.words]
        for k, word in enumerate(call.words):
            if isinstance(word, Address):
                note(start + k, *place(word))
            elif isinstance(word, SlowMemory):
                if word.unless is None or place(word.unless[0]) != place(word.unless[1]):
                    self.slow.append((start + k, self.slow_bytes))
                    self.slow_bytes += word.nbytes
            elif k in frames:
                self.patch(start + k, WORDS, 8 * frames[k])
        return start

    def frame(self, frame: Frame) -> int:
        """Lay out the table of a program that a driver runs; the first word of its frame.

        Its bases are the arena, the constants, and its inputs and outputs in order.
        """
        program, patches = frame.program, list[tuple[int, int, int]]()

        def note(word: int, buffer: int, offset: int) -> None:
            base = buffer if buffer < WORDS else buffer - 1
            patches.append((word, base, offset))

        calls: list[tuple[int, int]] = []
        for _, tiles, place in _calls(program, placed(program), self.constants, frame.same):
            records = [(self.kernel(call.kernel), self.record(call, place, note)) for call in tiles]
            size = MOST_TILES if _worth_sharing(tiles) else 1
            stages = (records[i : i + size] for i in range(0, len(records), size))
            calls += [s[0] if len(s) == 1 else self.stage(s) for s in stages]
        first = len(self.words)
        self.frames.append((program, first))
        fixed = [p for p in patches if p[1] < WORDS + frame.fixed]
        moving = [p for p in patches if p[1] >= WORDS + frame.fixed]
        at_calls = first + FRAME_WORDS
        at_bases = at_calls + 2 * len(calls)
        at_fixed = at_bases + WORDS + len(program.ins) + len(program.outs)
        at_moving = at_fixed + 3 * len(fixed)
        self.words += [0] * (at_moving + 3 * len(moving) - first)
        for word, start in ((0, at_calls), (2, at_bases), (5, at_fixed), (7, at_moving)):
            self.patch(first + word, WORDS, 8 * start)
        for word, number in ((1, len(calls)), (6, len(fixed)), (8, len(moving))):
            self.words[first + word] = number
        self.pairs(at_calls, calls)
        self.patch(at_bases + CONSTANTS, CONSTANTS, 0)
        for k, (word, base, offset) in enumerate((*fixed, *moving)):
            self.patch(at_fixed + 3 * k, WORDS, 8 * word)
            self.words[at_fixed + 3 * k + 1 : at_fixed + 3 * k + 3] = [base, offset]
        return first

    def stage(self, tiles: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Lay out a call that shares tiles; its kernel and the first word of its record."""
        self.n_stages += 1
        first = len(self.words)
        self.words += [0, 0, len(tiles), *[0] * (2 * len(tiles))]
        self.patch(first, WORDS, 0)
        self.patch(first + 1, WORDS, 8 * (first + 3))
        self.pairs(first + 3, tiles)
        return self.kernel(ShareKernel()), first

    def pairs(self, at: int, calls: Sequence[tuple[int, int]]) -> None:
        """Write down calls, each the address of a kernel and that of its record."""
        for k, (kernel, start) in enumerate(calls):
            self.functions.append((at + 2 * k, kernel))
            self.patch(at + 2 * k + 1, WORDS, 8 * start)


def _worth_sharing(tiles: Sequence[Call]) -> bool:
    """Whether several threads run the tiles of a call in a loop sooner than one does.

    Threads that meet, and fetch what others have in their caches, take some microseconds: on two
    threads, eight microseconds of additions in four tiles took seven.
    """
    loops = isinstance(tiles[0].kernel, MapKernel | ReduceKernel)
    return not loops or len(tiles) >= _WORTH_TILES


def _placer(program: Program, plan: Plan, step: Run, constants: dict[bytes, int]) -> _Where:
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
