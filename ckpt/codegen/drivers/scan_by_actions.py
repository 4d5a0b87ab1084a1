"""The driver of a loop of known length that keeps what a schedule says."""

from numba import njit

from ckpt.codegen.address import move
from ckpt.codegen.drivers.actions import (
    ADVANCE,
    ERASE,
    FREE,
    RECORD,
    STORE,
    WRITE,
    end_of,
    kept_at,
    kind_of,
)
from ckpt.codegen.drivers.frame import FIRST_INPUT, enter, put_list, put_slices, word
from ckpt.codegen.drivers.states import (
    INITIAL,
    RESULT,
    block,
    set_hand,
    set_steps_and_row,
    step_into,
)


@njit(error_model="numpy")
def scan_by_actions(record: int) -> None:
    """Run the body step by step, and do the actions of the first sweep on the way.

    The first sweep ends with the first action that does not go on from the state in hand: the
    reverse loop begins with that one. States that are kept are made where they are kept. The
    others alternate between two places, so that the last one is the result, and the one before it
    the last state of the tape.
    """
    record += 8  # the number of programs is known
    frame, length, backwards = word(record, 0), word(record, 1), word(record, 2)
    consts, carry, xs, ys = word(record, 3), word(record, 4), word(record, 5), word(record, 6)
    slots, nbytes = word(record, 7), word(record, 9)
    offsets = record + 8 * 10
    sizes = offsets + 8 * carry
    x_bytes = sizes + 8 * carry
    y_bytes = x_bytes + 8 * xs
    at_consts = y_bytes + 8 * ys
    at_state = at_consts + 8 * consts
    at_xs = at_state + 8 * carry
    at_result = at_xs + 8 * xs
    at_ys = at_result + 8 * carry
    tape = word(at_ys, ys)
    scratch, slow, slow_bytes = word(at_ys, ys + 1), word(at_ys, ys + 2), word(at_ys, ys + 3)
    state = FIRST_INPUT + consts
    after = state + carry + xs
    hands = word(frame, 2) + 8 * state
    actions = word(at_consts, consts - 1)
    last = block(tape, slots, nbytes, slots)
    enter(frame, scratch, consts, at_consts)
    put_list(frame, state, carry, at_state)

    row, i, hand = 0, 0, INITIAL
    sweeping = True
    while sweeping or i < length:
        wanted, end = INITIAL, length
        if sweeping:
            kind = kind_of(actions, row)
            to = kept_at(actions, row, tape, slots, nbytes, slow)
            if to not in (INITIAL, hand):
                for k in range(carry):
                    move(to + word(offsets, k), word(hands, k), word(sizes, k))
            if kind in (ADVANCE, RECORD):
                end = end_of(actions, row)
                wanted = kept_at(actions, row + 1, tape, slots, nbytes, slow)
                row += 1
            elif kind in (STORE, FREE, WRITE, ERASE):
                row += 1
                continue
            else:
                sweeping = False
                set_steps_and_row(tape, length, row)
                # after the last step no action goes on from the state in hand
                set_hand(tape, INITIAL if i == length else hand, slow, slow_bytes)
        while i < end:
            at = length - 1 - i if backwards else i
            put_slices(frame, state + carry, xs, at_xs, x_bytes, at)
            put_slices(frame, after + carry, ys, at_ys, y_bytes, at)
            place = RESULT if (length - 1 - i) % 2 == 0 else last
            if i + 1 == end and i + 1 < length and wanted not in (INITIAL, hand):
                place = wanted
            step_into(frame, state, after, carry, place, at_result, offsets)
            hand = place
            i += 1
