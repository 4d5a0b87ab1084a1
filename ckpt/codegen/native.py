"""The interpreter of tables: threads take tasks in turn, without the lock of Python.

    while (t = next++) < n:                    one ticket after another, to whoever comes
        wait until done >= wait[t]             all tasks of earlier stages
        call the kernels of task t
        done++

Tickets are handed out in the order of the program, so whoever waits, waits for others that work:
nothing can block for good. A thread may come late or not at all, and the result is the same. Who
waits spins for some microseconds, then offers its core to others, and sleeps in the end.
"""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import ctypes
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from ckpt.codegen import cache as disk
from ckpt.codegen.compile import Compiled, compile_ir, load, machine

NEXT, DONE, TASKS, ENTRIES = 0, 8, 16, 17
"""Words of a job: the next ticket and the number of tasks done, each in a cache line of its own,
then the addresses of the tasks and of the entries."""
JOB_WORDS = 24

_SPINS, _YIELDS = 2_000, 4_000
"""How often a thread looks before it offers its core, and then before it sleeps for a moment."""

_SLEEP_MICROSECONDS = 30

_PAUSES = {
    "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}
"""By processor, the instruction that says "I am waiting", and its declaration."""

_ALSO = {"AMD64": "x86_64", "arm64": "aarch64"}
_PAUSE, _DECLARED = _PAUSES.get(_ALSO.get(platform.machine(), platform.machine()), ("", ""))

_WAIT = f"""\
{_DECLARED}
declare i32 @ckpt_yield()
declare i32 @ckpt_sleep(i32)

define internal void @wait(ptr %done.at, i64 %wanted) {{
entry:
  br label %look
look:
  %looks = phi i64 [ 0, %entry ], [ %more, %again ]
  %done = load atomic i64, ptr %done.at acquire, align 8
  %ready = icmp sge i64 %done, %wanted
  br i1 %ready, label %over, label %hold
hold:
  %more = add i64 %looks, 1
  %patient = icmp slt i64 %looks, {_SPINS}
  br i1 %patient, label %spin, label %offer
spin:
  {_PAUSE}
  br label %again
offer:
  %brief = icmp slt i64 %looks, {_SPINS + _YIELDS}
  br i1 %brief, label %yield, label %sleep
yield:
  %yielded = call i32 @ckpt_yield()
  br label %again
sleep:
  %slept = call i32 @ckpt_sleep(i32 {_SLEEP_MICROSECONDS})
  br label %again
again:
  br label %look
over:
  ret void
}}
"""

_TAKE_PART = f"""
define void @ckpt_take_part(ptr %job, i64 %stop) {{
entry:
  %next.at = getelementptr i64, ptr %job, i64 {NEXT}
  %done.at = getelementptr i64, ptr %job, i64 {DONE}
  %tasks.at = getelementptr i64, ptr %job, i64 {TASKS}
  %entries.at = getelementptr i64, ptr %job, i64 {ENTRIES}
  br label %look
look:
  %ticket = load atomic i64, ptr %next.at acquire, align 8
  %open = icmp slt i64 %ticket, %stop
  br i1 %open, label %draw, label %left
draw:
  %following = add nsw i64 %ticket, 1
  %drawn = cmpxchg ptr %next.at, i64 %ticket, i64 %following acq_rel acquire, align 8
  %mine = extractvalue {{ i64, i1 }} %drawn, 1
  br i1 %mine, label %found, label %look
found:
  %tasks = load ptr, ptr %tasks.at, align 8
  %entries = load ptr, ptr %entries.at, align 8
  %task = getelementptr [3 x i64], ptr %tasks, i64 %ticket
  %last.at = getelementptr i64, ptr %task, i64 1
  %wait.at = getelementptr i64, ptr %task, i64 2
  %first = load i64, ptr %task, align 8
  %last = load i64, ptr %last.at, align 8
  %wanted = load i64, ptr %wait.at, align 8
  call void @wait(ptr %done.at, i64 %wanted)
  br label %loop
loop:
  %i = phi i64 [ %first, %found ], [ %step, %body ]
  %more = icmp slt i64 %i, %last
  br i1 %more, label %body, label %finish
body:
  %entry.at = getelementptr [2 x i64], ptr %entries, i64 %i
  %function = load ptr, ptr %entry.at, align 8
  %record.at = getelementptr i64, ptr %entry.at, i64 1
  %record = load ptr, ptr %record.at, align 8
  call void %function(ptr %record)
  %step = add nsw i64 %i, 1
  br label %loop
finish:
  %before = atomicrmw add ptr %done.at, i64 1 acq_rel, align 8
  br label %look
left:
  ret void
}}
"""

_CLOSE = f"""
define void @ckpt_close(ptr %job, i64 %end) {{
entry:
  %next.at = getelementptr i64, ptr %job, i64 {NEXT}
  %done.at = getelementptr i64, ptr %job, i64 {DONE}
  %drawn = atomicrmw xchg ptr %next.at, i64 %end acq_rel, align 8
  call void @wait(ptr %done.at, i64 %drawn)
  ret void
}}
"""

_OPEN = f"""
define void @ckpt_open(ptr %job) {{
entry:
  %next.at = getelementptr i64, ptr %job, i64 {NEXT}
  %done.at = getelementptr i64, ptr %job, i64 {DONE}
  store atomic i64 0, ptr %done.at monotonic, align 8
  store atomic i64 0, ptr %next.at release, align 8
  ret void
}}
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The native functions; all take the address of a job.

    Attributes:
        open: `(job)`: begin a step; everything that tasks read has been written.
        take_part: `(job, stop)`: run tasks until all tickets below `stop` are taken.
        close: `(job, end)`: hand out no ticket below `end`, and wait for all that were taken.
    """

    open: Callable[[int], None]
    take_part: Callable[[int, int], None]
    close: Callable[[int, int], None]
    code: tuple[Compiled, ...]


@cache
def interpreter() -> Interpreter:
    """The interpreter, compiled or from disk."""
    for name in ("yield", "sleep"):
        llvm.add_symbol(f"ckpt_{name}", _system_call(name))
    code = (
        _compiled("ckpt_open", _OPEN),
        _compiled("ckpt_take_part", _WAIT + _TAKE_PART),
        _compiled("ckpt_close", _WAIT + _CLOSE),
    )
    # ctypes lets go of Python's lock while the function runs
    one, two = (ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * n) for n in (1, 2))
    return Interpreter(one(code[0].address), two(code[1].address), two(code[2].address), code)


def _system_call(name: str) -> int:
    """The address of a function that offers the core to other threads, or sleeps."""
    if sys.platform == "win32":
        function: Any = ctypes.windll.kernel32.SwitchToThread
    else:
        function = getattr(ctypes.CDLL(None), {"yield": "sched_yield", "sleep": "usleep"}[name])
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _compiled(symbol: str, text: str) -> Compiled:
    key = disk.key_of("llvm", text, machine())
    kept = disk.read(key)
    if kept is not None:
        return load(symbol, kept)
    made = compile_ir(symbol, text)
    if made.object is not None:
        disk.write(key, made.object)
    return made
