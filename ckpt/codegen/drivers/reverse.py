"""The driver of a loop that runs back over another, in as many slots as its tape has."""

from numba import njit

from ckpt.codegen.drivers.binomial import split
from ckpt.codegen.drivers.frame import word
from ckpt.codegen.drivers.states import block, length_of, set_slot, start_of
from ckpt.codegen.drivers.way_back import (
    WayBack,
    begin,
    put_state,
    step_back,
    step_forward,
    way_back,
)


@njit(error_model="numpy")
def reverse(record: int) -> None:
    """Bring back one step after another, the last one first.

    The slot with the highest number holds the latest state that is kept. If one step goes back
    from it, that step is run back and the slot is free. If no further slot is, the states of its
    steps are made again from it, one run after the other. Else a state on the way is kept in the
    next slot, and that one is served first.
    """
    w = way_back(record)
    tape, slots, nbytes = w.tape, w.slots, w.nbytes
    steps, slot = word(tape, 0), word(tape, 1)
    last = block(tape, slots, nbytes, slots)
    if not begin(w, steps):
        return
    fresh = True  # the state before the last step is still there
    while slot >= 0:
        start, length = start_of(tape, slot), length_of(tape, slot)
        kept = block(tape, slots, nbytes, slot)
        if length > 1 and slot < slots - 1:
            ahead = split(length, slots - slot)
            _advance(w, kept, start, ahead, block(tape, slots, nbytes, slot + 1))
            set_slot(tape, slot, start, ahead)
            set_slot(tape, slot + 1, start + ahead, length - ahead)
            slot += 1
            continue
        place = kept
        if length > 1:
            place = last
            if not fresh:
                _advance(w, kept, start, length - 1, last)
        fresh = False
        step_back(w, place, start + length - 1, steps)
        if length > 1:
            set_slot(tape, slot, start, length - 1)
        else:
            slot -= 1


@njit(error_model="numpy")
def _advance(w: WayBack, source: int, start: int, steps: int, to: int) -> None:
    """Make steps forward from a state; the last one goes to `to`."""
    put_state(w, w.forward, source)
    for j in range(steps):
        step_forward(w, to if (steps - 1 - j) % 2 == 0 else w.spare, start + j)
