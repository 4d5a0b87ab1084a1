"""The actions of a schedule of a loop, as a parameter of the ops that run it.

They are rows of three numbers, kind, step and where, as in `policies.loops.actions`. A driver reads
them from an array; an op carries the same rows as text, so that programs compare, hash and print
as ever, and that what will run is proved from the op alone.
"""

import base64
import zlib
from functools import lru_cache
from typing import Any

import numpy as np

from ckpt.errors import PlanError

ADVANCE, STORE, RESTORE, FREE, RECORD, REVERSE, WRITE, READ, ERASE = range(9)
"""Kinds of actions; the numbers are those of `policies.loops.Kind`."""

_SWEEP = (ADVANCE, STORE, FREE, RECORD, WRITE, ERASE)

Rows = np.ndarray[Any, np.dtype[np.int32]]
"""i32[actions, 3]."""


def packed(rows: Rows) -> str:
    """The rows as text.

    >>> rows_of(packed(np.array([[5, 0, -1]], np.int32)))
    array([[ 5,  0, -1]], dtype=int32)
    """
    whole = np.ascontiguousarray(rows, "<i4").tobytes()
    return base64.b64encode(zlib.compress(whole, 1)).decode()


@lru_cache(16)
def rows_of(text: str) -> Rows:
    """The rows that were packed; nobody may write to them.

    Raises:
        PlanError: the text was never packed.
    """
    try:
        whole = zlib.decompress(base64.b64decode(text, validate=True))
        return np.frombuffer(whole, "<i4").reshape(-1, 3)
    except (ValueError, zlib.error) as error:
        said = f"the plan is not good: the actions of a loop are unreadable: {error}"
        raise PlanError(said) from error


def tape_slots(text: str) -> int:
    """Blocks that a tape needs: one for the input, one a slot of states, one a kept step; or 0.

    >>> tape_slots(packed(np.array([[ADVANCE, 0, 1], [STORE, 1, 2], [REVERSE, 1, -1]], np.int32)))
    4
    """
    if not text:
        return 0
    rows = rows_of(text)
    return 1 + _slots(rows, STORE) + _slots(rows, RECORD)


def slow_slots(text: str) -> int:
    """Slots of states in slow memory."""
    return _slots(rows_of(text), WRITE) if text else 0


def steps_again(text: str) -> int:
    """Steps forward after the first sweep, which ends where the state in hand is left."""
    if not text:
        return 0
    rows = rows_of(text)
    first = int(np.argmin(np.isin(rows[:, 0], _SWEEP)))
    rest = rows[first:]
    advances = rest[rest[:, 0] == ADVANCE].astype(np.int64)
    return int((advances[:, 2] - advances[:, 1]).sum()) + int((rest[:, 0] == RECORD).sum())


def _slots(rows: Rows, kind: int) -> int:
    used = rows[rows[:, 0] == kind, 2]
    return int(used.max()) + 1 if used.size else 0
