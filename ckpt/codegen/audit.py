"""Watching a step from call to call: which bytes does it write, and does it read what is dead?

For debugging and for tests: every step copies the arena, so that it takes far longer than a run.
"""

import ctypes
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ckpt.codegen import arguments
from ckpt.codegen.executable import Executable
from ckpt.errors import CodegenError
from ckpt.ir.op import Array
from ckpt.plan.plan import Plan, Run
from ckpt.plan.schedule import Place

_CANARY_BYTES = 4096
_CANARY = 0x5A


def audit(executable: Executable, *arrays: Any, poison: int = 0xFF) -> tuple[Array, ...]:
    """Run one step, call by call, in poisoned memory with canaries around every buffer.

    Before each step, whatever is not alive in the arena holds poison (0xFF makes NaNs of floats
    and wild indices of integers): a kernel that reads it gives other results than a plain run.

    Args:
        executable: what runs; its own arena is not touched.
        arrays: the inputs.
        poison: the byte that dead memory holds.

    Returns:
        The results, to compare with those of a plain run.

    Raises:
        CodegenError: a kernel wrote outside the results and the scratch of its step.
        ArgumentError: an array differs from what was compiled.

    >>> import ckpt, numpy as np
    >>> step = ckpt.value_and_grad(lambda x: np.sum(np.sin(x) * x))
    >>> x = np.linspace(0, 1, 1000)
    >>> value, grad = audit(step.executable_for(x), x)
    >>> (step(x)[1] == grad).all()
    np.True_
    """
    program, plan, table = executable.program, executable.plan, executable.table
    ins = [_guarded(a) for a in arguments.inputs(program, arrays)[0]]
    outs = [_guarded(np.empty(v.type.shape, v.type.dtype.numpy)) for v in program.outs]
    arena = _guarded(np.full(plan.arena_bytes, poison, np.uint8))
    places = [arena, _guarded(table.constants), *ins, *outs]
    words, entries = executable.records([_inside(p).ctypes.data for p in places])
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64)
    memory = _inside(arena)
    last = _last_reads(plan)
    calls = np.searchsorted(table.positions, np.arange(len(plan.steps) + 1))
    for at, (step, (first, stop)) in enumerate(zip(plan.steps, pairwise(calls), strict=True)):
        before = [p.copy() for p in places]
        for function, record in entries[first:stop]:
            run(int(function))(int(record))
        _check(executable, step, [p != b for p, b in zip(places, before, strict=True)])
        memory[~_alive(plan, last, at)] = poison
    del words
    results = [_inside(o).view(v.type.dtype.numpy) for o, v in zip(outs, program.outs, strict=True)]
    return tuple(r.reshape(v.type.shape) for r, v in zip(results, program.outs, strict=True))


def _guarded(array: Array) -> Array:
    """The bytes of an array between canaries."""
    whole = np.full(array.nbytes + 2 * _CANARY_BYTES + 64, _CANARY, np.uint8)
    shift = -whole.ctypes.data % 64
    whole = whole[shift : shift + array.nbytes + 2 * _CANARY_BYTES]
    _inside(whole)[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return whole


def _inside(whole: Array) -> Array:
    return whole[_CANARY_BYTES : len(whole) - _CANARY_BYTES]


def _last_reads(plan: Plan) -> dict[int, int]:
    """Per slot, the last step that reads or writes it."""
    last: dict[int, int] = {}
    for at, step in enumerate(plan.steps):
        for slot in (*step.reads, *step.writes):
            last[slot] = at
    return last


def _alive(plan: Plan, last: dict[int, int], at: int) -> Array:
    """Which bytes of the arena hold values that a step after this one reads."""
    alive = np.zeros(plan.arena_bytes, bool)
    written = {slot for step in plan.steps[: at + 1] for slot in step.writes}
    for slot in written:
        place = plan.slots[slot]
        if place.place is Place.ARENA and last[slot] > at:
            alive[place.offset : place.offset + place.nbytes] = True
    return alive


def _check(executable: Executable, step: Run, changed: Sequence[Array]) -> None:
    """Raise CodegenError if other bytes changed than those of the step's results and scratch."""
    plan = executable.plan
    first_output = 2 + len(executable.program.ins)
    for slot in (plan.slots[s] for s in step.writes):
        if slot.place is Place.ARENA:
            _inside(changed[0])[slot.offset : slot.offset + slot.nbytes] = False
        else:
            _inside(changed[first_output + slot.offset])[:] = False
    scratch = slice(step.scratch_offset, step.scratch_offset + step.scratch_bytes)
    _inside(changed[0])[scratch] = False
    for number, bytes_changed in enumerate(changed):
        if bytes_changed.any():
            where = int(np.flatnonzero(bytes_changed)[0]) - _CANARY_BYTES
            let = plan.lets[step.let]
            raise CodegenError(
                f"{let.name} ({let.op}, {let.source}) wrote byte {where} of "
                f"{_buffer(number, first_output)}, which is not its own"
            )


def _buffer(number: int, first_output: int) -> str:
    if number < 2:
        return ("the arena", "the constants")[number]
    if number < first_output:
        return f"input {number - 2}"
    return f"result {number - first_output}"
