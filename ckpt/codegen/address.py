"""Memory by address inside numba kernels: for code that is compiled once for all arrays.

A kernel over array types is compiled anew for every dtype and layout. Where that costs more than
it gives, a thin function takes addresses, shapes and strides off the arrays and calls one that
knows only integers. Offsets are in bytes, indices in elements.
"""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

_BYTE = ir.IntType(8)


def _stack_rule(_typing: Any, value: Any) -> Any:
    """`(value) -> address` of a copy on the stack of the calling function."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once_value(builder, args[0])
        return builder.ptrtoint(place, ir.IntType(types.intp.bitwidth))

    return types.intp(value), generate


def _read_rule(_typing: Any, like: Any, _address: Any, _index: Any) -> Any:
    """`(like, address, index) -> element`, of the type of `like`."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = context.get_value_type(like)
        base = builder.inttoptr(args[1], kind.as_pointer())
        return builder.load(builder.gep(base, [args[2]]))

    return like(like, types.intp, types.intp), generate


def _write_rule(_typing: Any, value: Any, _address: Any, _index: Any) -> Any:
    """`(value, address, index)` stores an element of the type of `value`."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = context.get_value_type(value)
        base = builder.inttoptr(args[1], kind.as_pointer())
        builder.store(args[0], builder.gep(base, [args[2]]))
        return context.get_dummy_value()

    return types.void(value, types.intp, types.intp), generate


def _move_rule(_typing: Any, _to: Any, _source: Any, _n_bytes: Any) -> Any:
    """`(to, source, n_bytes)` copies bytes between places that do not overlap."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        to, source = (builder.inttoptr(a, _BYTE.as_pointer()) for a in args[:2])
        cgutils.raw_memcpy(builder, to, source, args[2], itemsize=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


def _clear_rule(_typing: Any, _to: Any, _n_bytes: Any) -> Any:
    """`(to, n_bytes)` sets bytes to zero."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        cgutils.memset(builder, builder.inttoptr(args[0], _BYTE.as_pointer()), args[1], 0)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


def _call_rule(_typing: Any, _function: Any, _record: Any) -> Any:
    """`(function, record)` calls a kernel: a function of one address."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


def _address_rule(_typing: Any, pointer: Any) -> Any:
    """`(pointer) -> address`."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(types.intp.bitwidth))

    return types.intp(pointer), generate


on_stack: Any = intrinsic(_stack_rule)
read: Any = intrinsic(_read_rule)
write: Any = intrinsic(_write_rule)
move: Any = intrinsic(_move_rule)
clear: Any = intrinsic(_clear_rule)
call: Any = intrinsic(_call_rule)
address_of: Any = intrinsic(_address_rule)


@njit(error_model="numpy")
def add_run(like: Any, to: int, source: int, count: int, step: int) -> None:
    """Add `count` elements of the type of `like` to elements that stand `step` apart."""
    if step == 1:
        for t in range(count):
            write(read(like, to, t) + read(like, source, t), to, t)
    else:
        for t in range(count):
            write(read(like, to, t * step) + read(like, source, t), to, t * step)


@njit(error_model="numpy")
def copy_run(item: int, to: int, source: int, count: int, step: int) -> None:
    """Copy `count` elements of `item` bytes (1, 2, 4 or 8) that stand `step` bytes apart."""
    if step == item:
        move(to, source, count * item)
    elif item == 1:
        for t in range(count):
            write(read(np.int8(0), source + t * step, 0), to, t)
    elif item == 2:
        for t in range(count):
            write(read(np.int16(0), source + t * step, 0), to, t)
    elif item == 4:
        for t in range(count):
            write(read(np.int32(0), source + t * step, 0), to, t)
    else:
        for t in range(count):
            write(read(np.int64(0), source + t * step, 0), to, t)
