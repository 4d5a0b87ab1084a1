"""The driver of a loop of known length."""

from numba import njit

from ckpt.codegen.drivers.binomial import split
from ckpt.codegen.drivers.frame import FIRST_INPUT, enter, put_list, put_slices, word
from ckpt.codegen.drivers.states import RESULT, block, set_slot, set_steps, step_into


@njit(error_model="numpy")
def scan(record: int) -> None:
    """Run the body step by step; each state goes where it is wanted, nothing is copied.

    States that the tape keeps go to their slots. The others alternate between two places, so
    that the last one is the result, and the one before it the last state of the tape.
    """
    record += 8  # the number of programs is known
    frame, length, backwards = word(record, 0), word(record, 1), word(record, 2)
    consts, carry, xs, ys = word(record, 3), word(record, 4), word(record, 5), word(record, 6)
    slots, arena, nbytes = word(record, 7), word(record, 8), word(record, 9)
    offsets = record + 8 * 10
    x_bytes = offsets + 8 * 2 * carry
    y_bytes = x_bytes + 8 * xs
    at_consts = y_bytes + 8 * ys
    at_state = at_consts + 8 * consts
    at_xs = at_state + 8 * carry
    at_result = at_xs + 8 * xs
    at_ys = at_result + 8 * carry
    tape = word(at_ys, ys)
    scratch = word(at_ys, ys + (1 if slots else 0))
    spare = block(tape, slots, nbytes, slots) if slots else scratch + arena
    state = FIRST_INPUT + consts
    after = state + carry + xs
    enter(frame, scratch, consts, at_consts)

    depth, start, rest = 0, 0, length
    ahead = split(rest, slots) if slots > 1 and rest > 1 else rest
    if slots:
        set_slot(tape, 0, 0, ahead)
    put_list(frame, state, carry, at_state)
    for i in range(length):
        at = length - 1 - i if backwards else i
        put_slices(frame, state + carry, xs, at_xs, x_bytes, at)
        put_slices(frame, after + carry, ys, at_ys, y_bytes, at)
        keep = i + 1 == start + ahead and i + 1 < length
        if keep:
            depth, start, rest = depth + 1, i + 1, length - i - 1
            ahead = split(rest, slots - depth) if slots - depth > 1 and rest > 1 else rest
            set_slot(tape, depth, start, ahead)
            place = block(tape, slots, nbytes, depth)
        else:
            place = RESULT if (length - 1 - i) % 2 == 0 else spare
        step_into(frame, state, after, carry, place, at_result, offsets)
    if slots:
        set_steps(tape, length, depth)
