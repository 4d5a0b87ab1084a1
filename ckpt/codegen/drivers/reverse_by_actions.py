"""The driver of a loop that runs back over another as the actions of a schedule say."""

from numba import njit

from ckpt.codegen.address import move
from ckpt.codegen.drivers.actions import (
    ADVANCE,
    READ,
    RECORD,
    RESTORE,
    REVERSE,
    end_of,
    kept_at,
    kind_of,
    step_of,
    where_of,
)
from ckpt.codegen.drivers.frame import word
from ckpt.codegen.drivers.states import INITIAL, block, hand_of, row_of, slow_of
from ckpt.codegen.drivers.way_back import (
    WayBack,
    begin,
    put_state,
    step_back,
    step_forward,
    way_back,
)


@njit(error_model="numpy")
def reverse_by_actions(record: int) -> None:
    """Do one action after another until step 0 is reversed.

    The state in hand is an address, and so is what a slot holds: a state is copied only where it is
    kept twice. A step forward that ends where a state is kept makes it there.
    """
    w = way_back(record)
    tape, slots, nbytes = w.tape, w.slots, w.nbytes
    steps, row = word(tape, 0), row_of(tape)
    if not begin(w, steps):
        return
    actions = word(w.at_consts, w.consts - 1)
    last = block(tape, slots, nbytes, slots)
    slow = slow_of(tape)
    if tape != word(w.at_xs, w.xs):  # somebody else needs the tape, and slow memory, as they are
        own = word(w.at_ct_xs, w.ct_xs + 1)
        move(own, slow, word(w.at_ct_xs, w.ct_xs + 2))
        slow = own
    hand = hand_of(tape, slow)
    while True:
        kind, step, where = kind_of(actions, row), step_of(actions, row), where_of(actions, row)
        to = kept_at(actions, row, tape, slots, nbytes, slow)
        if to not in (INITIAL, hand):
            _copy(w, hand, to)
        if kind in (ADVANCE, RECORD):
            end = end_of(actions, row)
            wanted = kept_at(actions, row + 1, tape, slots, nbytes, slow)
            put_state(w, w.forward, hand)
            for i in range(step, end):
                place = last if hand != last else w.spare
                if i + 1 == end and wanted not in (INITIAL, hand):
                    place = wanted
                step_forward(w, place, i)
                hand = place
        elif kind == RESTORE:
            hand = INITIAL if where < 0 else block(tape, slots, nbytes, 1 + where)
        elif kind == READ:
            hand = slow + where * nbytes
        elif kind == REVERSE:
            place = hand if where < 0 else block(tape, slots, nbytes, slots - 1 - where)
            step_back(w, place, step, steps)
            if step == 0:
                return
        row += 1


@njit(error_model="numpy")
def _copy(w: WayBack, place: int, to: int) -> None:
    """Copy a state to a block."""
    for k in range(w.carry):
        source = word(w.at_state, k) if place == INITIAL else place + word(w.offsets, k)
        move(to + word(w.offsets, k), source, word(w.state_bytes, k))
