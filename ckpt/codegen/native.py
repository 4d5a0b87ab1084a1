"""The interpreter of tables: one native call per step, without the lock of Python."""

import ctypes
from collections.abc import Callable
from functools import cache

from ckpt.codegen import cache as disk
from ckpt.codegen.compile import Compiled, compile_ir, load, machine

_NAME = "ckpt_run_table"
_TEXT = f"""\
define void @{_NAME}(ptr %table, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %entry.at = getelementptr [2 x i64], ptr %table, i64 %i
  %function = load ptr, ptr %entry.at, align 8
  %record.at = getelementptr i64, ptr %entry.at, i64 1
  %record = load ptr, ptr %record.at, align 8
  call void %function(ptr %record)
  %next = add nsw i64 %i, 1
  br label %loop
done:
  ret void
}}
"""


@cache
def _interpreter() -> tuple[Compiled, Callable[[int, int], None]]:
    key = disk.key_of("llvm", _TEXT, machine())
    kept = disk.read(key)
    if kept is None:
        made = compile_ir(_NAME, _TEXT)
        if made.object is not None:
            disk.write(key, made.object)
    else:
        made = load(_NAME, kept)
    # ctypes lets go of Python's lock while the function runs
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)
    return made, kind(made.address)


def interpreter() -> Callable[[int, int], None]:
    """`run(address of the table, number of calls)`: call every kernel with its record."""
    return _interpreter()[1]
