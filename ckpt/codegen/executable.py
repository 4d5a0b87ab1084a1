"""A plan that runs: compiled kernels, one arena, one native call per step."""

import mmap
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np

from ckpt.codegen import arguments
from ckpt.codegen.build import Progress, Route, build, kernel_text
from ckpt.codegen.drivers.frame import RUNS, STATUS
from ckpt.codegen.native import interpreter
from ckpt.codegen.table import entries, table_of
from ckpt.codegen.threads import one_thread
from ckpt.ir.op import Array
from ckpt.ir.program import Program
from ckpt.ir.types import Space
from ckpt.ops.while_loop import too_long
from ckpt.plan.plan import Plan
from ckpt.plan.verify import verify

_KEPT = 101
_GUARD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Stats:
    """What was measured.

    Attributes:
        steps: how many steps have run.
        last_seconds: wall time of the last one; None before the first.
        median_seconds: the median of the last hundred and one.
        measured_peak_bytes: inputs on the device, outputs, copies of inputs that were not
            contiguous, the arena up to the highest byte that a kernel touched, and the reserve;
            None before `measure`.
        measured_arena_bytes: the part of it that is the arena.
    """

    steps: int
    last_seconds: float | None
    median_seconds: float | None
    measured_peak_bytes: int | None
    measured_arena_bytes: int | None


class Executable:
    """A program, compiled, with an arena of its own.

    Calls are serialised: two threads that share one executable wait for each other, and `clone`
    makes one that runs beside it.
    """

    def __init__(
        self,
        program: Program,
        plan: Plan,
        *,
        verified: bool = True,
        route: Route = "llvm",
        progress: Progress | None = None,
    ) -> None:
        """Compile the kernels of a plan and allocate its arena.

        Args:
            program: what the plan is for: plain, in output normal form.
            plan: what runs when, and where.
            verified: False if the plan comes from outside and has to be checked first.
            route: which printer makes the kernels.
            progress: told about kernels once compiling has taken two seconds.

        Raises:
            PlanError: the plan had to be checked and is not good.
            CodegenError: a kernel does not compile.
        """
        if not verified:
            verify(plan, program)
        self.program = program
        self.plan = plan
        self.route: Route = route
        self._table = table_of(program, plan)
        self._compiled = build(self._table.kernels, route, progress)
        self._run = interpreter()
        self._words = self._table.words.copy()
        addresses = [c.address for c in self._compiled]
        self._entries = entries(self._table, addresses, self._words)
        self._status = np.array([first + STATUS for _, first in self._table.frames], np.int64)
        for word, kernel in self._table.functions:
            self._words[word] = addresses[kernel]
        self._arena = _memory(plan.arena_bytes)
        self._lock = Lock()
        self._steps = 0
        self._seconds: deque[float] = deque(maxlen=_KEPT)
        self._measured: tuple[int, int] | None = None

    @staticmethod
    def from_plan_file(
        program: Program, path: str | Path, *, progress: Progress | None = None
    ) -> "Executable":
        """An executable for a plan that was kept as JSON; the plan is verified first.

        Raises:
            PlanError: the file is not a good plan for this program.
        """
        return Executable(program, Plan.load(path), verified=False, progress=progress)

    def __call__(self, *arrays: Any, out: Sequence[Any] | None = None) -> tuple[Array, ...]:
        """Run one step.

        Args:
            arrays: the inputs, in order, of exactly the dtypes and shapes of the program. Any
                strides will do; an input that is not contiguous is copied first, and the copy
                counts in the measured peak, not in the plan.
            out: buffers for the results: contiguous, writable, apart from inputs and from each
                other. Fresh ones are made when it is not given.

        Returns:
            The results, in order.

        Raises:
            ArgumentError: an array or a buffer differs from what was compiled.
            LoopError: a `while_loop` made more steps than its `max_steps`.
        """
        with self._lock:
            ins, _ = arguments.inputs(self.program, arrays)
            outs = arguments.outputs(self.program, out, ins)
            self._step(ins, outs, self._arena)
        return tuple(outs)

    def _step(self, ins: Sequence[Array], outs: Sequence[Array], arena: Array) -> None:
        table = self._table
        places = [arena, table.constants, self._words, *ins, *outs]
        bases = np.array([a.ctypes.data for a in places], np.int64)
        began = perf_counter()
        self._words[table.patched] = table.words[table.patched] + bases[table.buffers]
        with one_thread():
            self._run(self._entries.ctypes.data, len(self._entries))
        if self._status.size and self._words[self._status].any():
            self._words[self._status] = 0
            raise too_long()
        self._seconds.append(perf_counter() - began)
        self._steps += 1

    def measure(self, *arrays: Any) -> Stats:
        """Run two steps in poisoned memory, see which bytes of the arena they touch, and say so.

        While it runs the executable's own arena is given up for one with a guard behind it.

        Raises:
            ArgumentError: an array differs from what was compiled.
        """
        with self._lock:
            ins, copied = arguments.inputs(self.program, arrays)
            outs = arguments.outputs(self.program, None, ins)
            planned = self.plan.arena_bytes
            self._arena = _memory(0)
            arena = _memory(planned + _GUARD_BYTES)
            touched = 0
            # two poisons, because a kernel might write the very byte of one of them
            for poison in (0xA5, 0xFF):
                arena[:] = poison
                self._step(ins, outs, arena)
                changed = np.flatnonzero(arena != poison)
                touched = max(touched, int(changed[-1]) + 1 if changed.size else 0)
            del arena
            self._arena = _memory(planned)
            given = sum(
                np.asarray(a).nbytes
                for a, v in zip(arrays, self.program.ins, strict=True)
                if v.type.space is Space.DEVICE
            )
            results = sum(a.nbytes for a in outs)
            peak = given + copied + results + touched + self.plan.reserve_bytes
            self._measured = peak, touched
        return self.stats

    @property
    def stats(self) -> Stats:
        """What was measured so far."""
        seconds = list(self._seconds)
        peak, arena = self._measured or (None, None)
        return Stats(
            steps=self._steps,
            last_seconds=seconds[-1] if seconds else None,
            median_seconds=median(seconds) if seconds else None,
            measured_peak_bytes=peak,
            measured_arena_bytes=arena,
        )

    @property
    def source(self) -> str:
        """The source of all kernels, each under its name."""
        return "\n".join(
            f"; {kernel.name}\n{kernel_text(kernel, self.route)}" for kernel in self._table.kernels
        )

    def runs_of(self, program: Program) -> int:
        """How often a program that an op of this one holds has run since this was made."""
        frames = (first for held, first in self._table.frames if held is program)
        return sum(int(self._words[first + RUNS]) for first in frames)

    @property
    def n_kernels(self) -> int:
        """How many distinct kernels it has."""
        return len(self._table.kernels)

    def clone(self) -> "Executable":
        """The same program and plan with an arena of its own, to run beside this one."""
        return Executable(self.program, self.plan, route=self.route)


def _memory(nbytes: int) -> Array:
    """Bytes at the start of a page, and so aligned for every kernel; ours alone after a fork."""
    if sys.platform == "win32":
        pages = mmap.mmap(-1, max(nbytes, 1))
    else:
        pages = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, np.uint8)[:nbytes]
