"""The actions of a schedule: rows of three 32-bit numbers, kind, step and where.

They are those of `policies.loops.actions`, all of which a driver can run. What a schedule keeps of
a step besides states, its residuals, is here the state that the step begins with: the step back
makes the rest again. Such states stand in the blocks of the tape with the highest numbers.
"""

import numpy as np
from numba import njit

from ckpt.codegen.address import read
from ckpt.codegen.drivers.states import INITIAL, block

ADVANCE, STORE, RESTORE, FREE, RECORD, REVERSE, WRITE, READ, ERASE = range(9)


@njit(error_model="numpy")
def kind_of(actions: int, row: int) -> int:
    """What a row asks for."""
    return read(np.int32(0), actions, 3 * row)


@njit(error_model="numpy")
def step_of(actions: int, row: int) -> int:
    """The step that it is about."""
    return read(np.int32(0), actions, 3 * row + 1)


@njit(error_model="numpy")
def where_of(actions: int, row: int) -> int:
    """The step that an advance ends at, else a slot."""
    return read(np.int32(0), actions, 3 * row + 2)


@njit(error_model="numpy")
def end_of(actions: int, row: int) -> int:
    """The step that the state in hand precedes after steps forward."""
    forward = kind_of(actions, row) == ADVANCE
    return where_of(actions, row) if forward else step_of(actions, row) + 1


@njit(error_model="numpy")
def kept_at(actions: int, row: int, tape: int, slots: int, nbytes: int, slow: int) -> int:
    """Where a row keeps the state in hand; `INITIAL` if it keeps none."""
    kind = kind_of(actions, row)
    if kind == STORE:
        return block(tape, slots, nbytes, 1 + where_of(actions, row))
    if kind == RECORD:
        return block(tape, slots, nbytes, slots - 1 - where_of(actions, row))
    if kind == WRITE:
        return slow + nbytes * where_of(actions, row)
    return INITIAL
