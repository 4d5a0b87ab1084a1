"""The interpreter of tables: threads take tasks in turn, without the lock of Python.

    while (t = next++) < n:                    one ticket after another, to whoever comes
        wait until done >= wait[t]             all tasks of earlier stages
        call the kernels of task t
        done++

Tickets are handed out in the order of the program, so whoever waits, waits for others that work:
nothing can block for good. A thread may come late or not at all, and the result is the same. Who
waits runs tiles of the loop that it waits for, if that offers any (`ckpt.codegen.crew`).
"""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ckpt.codegen import cache as disk
from ckpt.codegen.compile import Compiled, compile_ir, load, machine
from ckpt.codegen.crew import DRIVER, LEFT, MEMBERS, SERVE
from ckpt.codegen.waiting import WAITING

NEXT, DONE, TASKS, ENTRIES, CREW = 0, 8, 16, 17, 18
"""Words of a job: the next ticket and the number of tasks done, each in a cache line of its own,
then the addresses of the tasks, of the entries and of the crew."""
JOB_WORDS = 24

_WAIT = f"""{WAITING}{SERVE}
define internal void @wait(ptr %done.at, i64 %wanted, ptr %crew, i64 %who) {{
entry:
  br label %look
look:
  %looks = phi i64 [ 0, %entry ], [ 0, %idle ], [ %more, %hold ]
  %done = load atomic i64, ptr %done.at acquire, align 8
  %ready = icmp sge i64 %done, %wanted
  br i1 %ready, label %over, label %idle
idle:
  %ran = call i1 @serve(ptr %crew, i64 %who)
  br i1 %ran, label %look, label %hold
hold:
  call void @rest(i64 %looks)
  %more = add i64 %looks, 1
  br label %look
over:
  ret void
}}
"""

_TAKE_PART = f"""
define void @ckpt_take_part(ptr %job, i64 %stop, i64 %who) {{
entry:
  %next.at = getelementptr i64, ptr %job, i64 {NEXT}
  %done.at = getelementptr i64, ptr %job, i64 {DONE}
  %tasks.at = getelementptr i64, ptr %job, i64 {TASKS}
  %entries.at = getelementptr i64, ptr %job, i64 {ENTRIES}
  %crew.at = getelementptr i64, ptr %job, i64 {CREW}
  %crew = load ptr, ptr %crew.at, align 8
  %driver.at = getelementptr i64, ptr %crew, i64 {DRIVER}
  %stays = icmp ne i64 %who, 0
  br label %look
look:
  %looks = phi i64 [ 0, %entry ], [ 0, %finish ], [ %looks, %draw ], [ 0, %idle ], [ %more, %hold ]
  %ticket = load atomic i64, ptr %next.at acquire, align 8
  %open = icmp slt i64 %ticket, %stop
  br i1 %open, label %draw, label %none
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
  call void @wait(ptr %done.at, i64 %wanted, ptr %crew, i64 %who)
  ; if this task is a loop, nobody else comes here before it is done
  store atomic i64 %who, ptr %driver.at monotonic, align 8
  br label %loop
loop:
  %i = phi i64 [ %first, %found ], [ %step, %body ]
  %more.calls = icmp slt i64 %i, %last
  br i1 %more.calls, label %body, label %finish
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
none:
  br i1 %stays, label %ask, label %left
ask:
  %done = load atomic i64, ptr %done.at acquire, align 8
  %over = icmp sge i64 %done, %stop
  br i1 %over, label %left, label %idle
idle:
  %ran = call i1 @serve(ptr %crew, i64 %who)
  br i1 %ran, label %look, label %hold
hold:
  call void @rest(i64 %looks)
  %more = add i64 %looks, 1
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
  %crew.at = getelementptr i64, ptr %job, i64 {CREW}
  %crew = load ptr, ptr %crew.at, align 8
  %drawn = atomicrmw xchg ptr %next.at, i64 %end acq_rel, align 8
  call void @wait(ptr %done.at, i64 %drawn, ptr %crew, i64 0)
  store atomic i64 %end, ptr %done.at release, align 8
  ret void
}}
"""

_OPEN = f"""
define void @ckpt_open(ptr %job, i64 %threads) {{
entry:
  %next.at = getelementptr i64, ptr %job, i64 {NEXT}
  %done.at = getelementptr i64, ptr %job, i64 {DONE}
  %crew.at = getelementptr i64, ptr %job, i64 {CREW}
  %crew = load ptr, ptr %crew.at, align 8
  %left.at = getelementptr i64, ptr %crew, i64 {LEFT}
  %members.at = getelementptr i64, ptr %crew, i64 {MEMBERS}
  store atomic i64 %threads, ptr %members.at monotonic, align 8
  ; after a fork in the middle of a stage, that is over for the child
  store atomic i64 0, ptr %left.at monotonic, align 8
  store atomic i64 0, ptr %done.at monotonic, align 8
  store atomic i64 0, ptr %next.at release, align 8
  ret void
}}
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The native functions; all take the address of a job.

    Attributes:
        open: `(job, threads)`: begin a step; everything that tasks read has been written.
        take_part: `(job, stop, who)`: run tasks until all tickets below `stop` are taken. The
            caller is 0; a helper, who has another number, then runs tiles of loops until `stop`
            tasks are done.
        close: `(job, end)`: hand out no ticket below `end`, and wait for all that were taken.
    """

    open: Callable[[int, int], None]
    take_part: Callable[[int, int, int], None]
    close: Callable[[int, int], None]
    code: tuple[Compiled, ...]


@cache
def interpreter() -> Interpreter:
    """The interpreter, compiled or from disk."""
    code = (
        _compiled("ckpt_open", _OPEN),
        _compiled("ckpt_take_part", _WAIT + _TAKE_PART),
        _compiled("ckpt_close", _WAIT + _CLOSE),
    )
    # ctypes lets go of Python's lock while the function runs
    two, three = (ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * n) for n in (2, 3))
    return Interpreter(two(code[0].address), three(code[1].address), two(code[2].address), code)


def _compiled(symbol: str, text: str) -> Compiled:
    key = disk.key_of("llvm", text, machine())
    kept = disk.read(key)
    if kept is not None:
        return load(symbol, kept)
    made = compile_ir(symbol, text)
    if made.object is not None:
        disk.write(key, made.object)
    return made
