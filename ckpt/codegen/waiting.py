"""How a thread waits, as LLVM IR: it spins, then offers its core to others, and sleeps in the end.

`WAITING` defines `@rest(i64 looks)`: one moment of waiting of whoever has looked so often in vain,
and `@now()`: ticks of a clock that goes evenly, or always 0 where none is known.
"""

import ctypes
import platform
import sys
from typing import Any

import llvmlite.binding as llvm  # pyright: ignore[reportMissingTypeStubs]

_SPINS, _YIELDS = 2_000, 4_000
"""How often a thread looks before it offers its core, and then before it sleeps for a moment."""

_SLEEP_MICROSECONDS = 30

_PAUSES = {
    "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}
"""By processor, the instruction that says "I am waiting", and its declaration."""

_CLOCKS = {
    "x86_64": ("call i64 @llvm.x86.rdtsc()", "declare i64 @llvm.x86.rdtsc()"),
    "aarch64": ('call i64 asm sideeffect "mrs $0, cntvct_el0", "=r"()', ""),
}
"""By processor, the instruction that reads the clock, and its declaration."""

_ALSO = {"AMD64": "x86_64", "arm64": "aarch64"}
_PROCESSOR = _ALSO.get(platform.machine(), platform.machine())
_PAUSE, _PAUSE_DECLARED = _PAUSES.get(_PROCESSOR, ("", ""))
_CLOCK, _CLOCK_DECLARED = _CLOCKS.get(_PROCESSOR, ("add i64 0, 0", ""))

WAITING = f"""\
{_PAUSE_DECLARED}
{_CLOCK_DECLARED}
declare i32 @ckpt_yield()
declare i32 @ckpt_sleep(i32)

define internal void @rest(i64 %looks) {{
  %patient = icmp slt i64 %looks, {_SPINS}
  br i1 %patient, label %spin, label %offer
spin:
  {_PAUSE}
  ret void
offer:
  %brief = icmp slt i64 %looks, {_SPINS + _YIELDS}
  br i1 %brief, label %yield, label %sleep
yield:
  %yielded = call i32 @ckpt_yield()
  ret void
sleep:
  %slept = call i32 @ckpt_sleep(i32 {_SLEEP_MICROSECONDS})
  ret void
}}

define internal i64 @now() {{
  %ticks = {_CLOCK}
  ret i64 %ticks
}}
"""


def _system_call(name: str) -> int:
    """The address of a function that offers the core to other threads, or sleeps."""
    if sys.platform == "win32":
        function: Any = ctypes.windll.kernel32.SwitchToThread
    else:
        function = getattr(ctypes.CDLL(None), {"yield": "sched_yield", "sleep": "usleep"}[name])
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


for _name in ("yield", "sleep"):  # what compiled code links against
    llvm.add_symbol(f"ckpt_{_name}", _system_call(_name))  # pyright: ignore[reportUnknownMemberType]
