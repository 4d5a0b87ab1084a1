"""A plan that runs: compiled kernels, one arena, one native call per step."""

import os
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
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
from ckpt.codegen.job import Job
from ckpt.codegen.kernels import MapKernel, ReduceKernel
from ckpt.codegen.memory import pages
from ckpt.codegen.slow import chosen_folder, slow_memory, slow_pages
from ckpt.codegen.table import WORDS, addresses, entries, table_of
from ckpt.codegen.threads import one_thread
from ckpt.codegen.watching import counted, watching
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
        slow_bytes: of slow memory, where schedules of loops put states: beside the peak.
    """

    steps: int
    last_seconds: float | None
    median_seconds: float | None
    measured_peak_bytes: int | None
    measured_arena_bytes: int | None
    slow_bytes: int


class Executable:
    """A program, compiled, with an arena of its own.

    Calls are serialised: two threads that share one executable wait for each other, and `clone`
    makes one that runs beside it.

    Attributes:
        program: what runs.
        plan: what runs when, and where.
        route: which printer made the kernels.
        table: the plan as calls of kernels.
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
            ArenaError: there is not so much memory.
        """
        if not verified:
            verify(plan, program)
        self.program = program
        self.plan = plan
        self.route: Route = route
        self.table = table_of(program, plan)
        self._compiled = build(self.table.kernels, route, progress)
        self._folder = chosen_folder()
        self._slow = slow_pages(self.table.slow_bytes, self._folder)
        self._inherited = False
        self._words = self.table.words.copy()
        functions = self._linked(self._words)
        seconds = [plan.lets[step.let].seconds for step in plan.steps]
        self._job = Job(self.table, functions, self._words, seconds)
        self._status = np.array([first + STATUS for _, first in self.table.frames], np.int64)
        self._calls_blas = not all(
            isinstance(k, MapKernel | ReduceKernel) for k in self.table.kernels
        )
        self._loops = counted(program, plan, self.table.frames, self._words, RUNS)
        self._addresses = addresses(self.table)
        self._bases: list[int | None] = [None] * len(self._addresses)
        self._arena = pages(plan.arena_bytes)
        self._lock = Lock()
        self._steps = 0
        self._seconds: deque[float] = deque(maxlen=_KEPT)
        self._measured: tuple[int, int] | None = None
        _alive.add(self)

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
        began = perf_counter()
        if self._inherited:
            self._slow = slow_pages(self.table.slow_bytes, self._folder)
            self._linked(self._words)
            self._inherited = False
        for number, array in enumerate((arena, self.table.constants, self._words, *ins, *outs)):
            base = array.__array_interface__["data"][0]
            if base != self._bases[number]:
                self._bases[number] = base
                where, offsets = self._addresses[number]
                self._words[where] = offsets + base
        watch = watching.get() if self._loops is not None else None
        with one_thread() if self._calls_blas else nullcontext():
            if watch is None or self._loops is None:
                self._job.run()
            else:
                with watch(self._loops):
                    self._job.run()
        if self._status.size and self._words[self._status].any():
            self._words[self._status] = 0
            raise too_long()
        self._seconds.append(perf_counter() - began)
        self._steps += 1

    def records(self, bases: Sequence[int]) -> tuple[Array, Array]:
        """Records of all calls, and per call its kernel and record.

        Args:
            bases: the addresses of the arena, the constants, the inputs and the outputs.
        """
        words = self.table.words.copy()
        functions = self._linked(words)
        every = np.array([*bases[:WORDS], words.ctypes.data, *bases[WORDS:]], np.int64)
        words[self.table.patched] += every[self.table.buffers]
        return words, entries(self.table, functions, words)

    def _linked(self, words: Array) -> list[int]:
        """The addresses of all kernels, written down where drivers call them; slow memory too."""
        functions = [c.address for c in self._compiled]
        for word, kernel in self.table.functions:
            words[word] = functions[kernel]
        words[self.table.slow[:, 0]] = self._slow.ctypes.data + self.table.slow[:, 1]
        return functions

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
            self._arena = pages(0)
            arena = pages(planned + _GUARD_BYTES)
            touched = 0
            # two poisons, because a kernel might write the very byte of one of them
            for poison in (0xA5, 0xFF):
                arena[:] = poison
                self._step(ins, outs, arena)
                changed = np.flatnonzero(arena != poison)
                touched = max(touched, int(changed[-1]) + 1 if changed.size else 0)
            del arena
            self._arena = pages(planned)
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
            slow_bytes=self.table.slow_bytes,
        )

    @property
    def source(self) -> str:
        """The source of all kernels, each under its name."""
        return "\n".join(
            f"; {kernel.name}\n{kernel_text(kernel, self.route)}" for kernel in self.table.kernels
        )

    def runs_of(self, program: Program) -> int:
        """How often a program that an op of this one holds has run since this was made."""
        frames = (first for held, first in self.table.frames if held is program)
        return sum(int(self._words[first + RUNS]) for first in frames)

    @property
    def n_kernels(self) -> int:
        """How many distinct kernels it has."""
        return len(self.table.kernels)

    def unlock(self) -> None:
        """Forget that a step is running, when the process forked; share no file with the parent."""
        self._lock = Lock()
        self._inherited = self._folder is not None and self.table.slow_bytes > 0

    def clone(self) -> "Executable":
        """The same program and plan with an arena of its own, to run beside this one."""
        with nullcontext() if self._folder is None else slow_memory(self._folder):
            return Executable(self.program, self.plan, route=self.route)


_alive: weakref.WeakSet[Executable] = weakref.WeakSet()


def _unlock() -> None:
    """In a forked child: whoever ran a step when the process forked does not exist here."""
    for executable in _alive:
        executable.unlock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)
