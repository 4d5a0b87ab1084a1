"""The driver of a loop that runs back over another."""

from numba import njit

from ckpt.codegen.address import clear, move
from ckpt.codegen.drivers.binomial import split
from ckpt.codegen.drivers.frame import (
    FIRST_INPUT,
    enter,
    put,
    put_block,
    put_list,
    put_slices,
    run,
    word,
)
from ckpt.codegen.drivers.states import (
    INITIAL,
    block,
    length_of,
    set_slot,
    start_of,
)


@njit(error_model="numpy")
def reverse(record: int) -> None:
    """Bring back one step after another, the last one first.

    The slot with the highest number holds the latest state that is kept. If one step goes back
    from it, that step is run back and the slot is free. If no further slot is, the states of its
    steps are made again from it, one run after the other. Else a state on the way is kept in the
    next slot, and that one is served first.
    """
    record += 8  # the number of programs is known
    forward, back = word(record, 0), word(record, 1)
    consts, carry, xs = word(record, 4), word(record, 5), word(record, 6)
    sums, moving, ct_ys, ct_xs = (
        word(record, 7), word(record, 8), word(record, 9), word(record, 10))  # fmt: skip
    slots, nbytes = word(record, 11), word(record, 15)
    offsets = record + 8 * 16
    ct_offsets = offsets + 8 * carry
    sum_offsets = ct_offsets + 8 * moving
    x_bytes = sum_offsets + 8 * (sums + carry)
    sum_bytes = x_bytes + 8 * xs
    ct_bytes = sum_bytes + 8 * sums
    ct_y_bytes = ct_bytes + 8 * moving
    ct_x_bytes = ct_y_bytes + 8 * ct_ys
    at_consts = ct_x_bytes + 8 * ct_xs
    at_state = at_consts + 8 * consts
    at_xs = at_state + 8 * carry
    at_tape = at_xs + 8 * xs
    at_cts = at_tape + 8
    at_ct_ys = at_cts + 8 * moving
    at_outs = at_ct_ys + 8 * ct_ys
    at_sums = at_outs + 8
    at_results = at_sums + 8 * sums
    at_ct_xs = at_results + 8 * moving
    scratch = word(at_ct_xs, ct_xs)
    spare = scratch + word(record, 12)
    ct_spare = spare + word(record, 13)
    sum_spare = ct_spare + word(record, 14)

    tape = word(at_outs, 0)
    if tape != word(at_tape, 0):
        move(tape, word(at_tape, 0), block(0, slots, nbytes, slots) + nbytes)
    steps, slot = word(tape, 0), word(tape, 1)
    last = block(tape, slots, nbytes, slots)
    for k in range(sums):
        clear(word(at_sums, k), word(sum_bytes, k))
        if word(sum_offsets, k) >= 0:
            clear(sum_spare + word(sum_offsets, k), word(sum_bytes, k))
    if steps == 0:
        for k in range(moving):
            move(word(at_results, k), word(at_cts, k), word(ct_bytes, k))
        return
    enter(forward, scratch, consts, at_consts)
    enter(back, scratch, consts, at_consts)
    state = FIRST_INPUT + consts
    total = state + carry + xs
    ct = total + sums
    after = ct + moving + ct_ys
    bases = word(back, 2)
    fresh = True  # the state before the last step is still there
    while slot >= 0:
        start, length = start_of(tape, slot), length_of(tape, slot)
        kept = block(tape, slots, nbytes, slot)
        if length > 1 and slot < slots - 1:
            ahead = split(length, slots - slot)
            _advance(record, forward, kept, start, ahead, block(tape, slots, nbytes, slot + 1))
            set_slot(tape, slot, start, ahead)
            set_slot(tape, slot + 1, start + ahead, length - ahead)
            slot += 1
            continue
        i = start + length - 1
        place = kept
        if length > 1:
            place = last
            if not fresh:
                _advance(record, forward, kept, start, length - 1, last)
        fresh = False
        # one step back
        if place == INITIAL:
            put_list(back, state, carry, at_state)
        else:
            put_block(back, state, carry, place, offsets)
        at = steps - 1 - i if word(record, 3) else i
        put_slices(back, state + carry, xs, at_xs, x_bytes, at)
        put_slices(back, ct + moving, ct_ys, at_ct_ys, ct_y_bytes, at)
        put_slices(back, after + sums + moving, ct_xs, at_ct_xs, ct_x_bytes, at)
        odd = i % 2 == 1
        for k in range(sums):
            here = word(at_sums, k)
            there = here if word(sum_offsets, k) < 0 else sum_spare + word(sum_offsets, k)
            put(here if odd else there, bases, total + k)
            put(there if odd else here, bases, after + k)
        if i == steps - 1:
            put_list(back, ct, moving, at_cts)
        elif odd:
            put_list(back, ct, moving, at_results)
        else:
            put_block(back, ct, moving, ct_spare, ct_offsets)
        if odd:
            put_block(back, after + sums, moving, ct_spare, ct_offsets)
        else:
            put_list(back, after + sums, moving, at_results)
        run(back)
        if length > 1:
            set_slot(tape, slot, start, length - 1)
        else:
            slot -= 1


@njit(error_model="numpy")
def _advance(record: int, frame: int, source: int, start: int, steps: int, to: int) -> None:
    """Make steps forward from a state; the last one goes to `to`."""
    length, backwards = word(record, 2), word(record, 3)
    consts, carry, xs = word(record, 4), word(record, 5), word(record, 6)
    sums, moving, ct_ys, ct_xs = (
        word(record, 7), word(record, 8), word(record, 9), word(record, 10))  # fmt: skip
    offsets = record + 8 * 16
    x_bytes = offsets + 8 * (carry + moving + sums + carry)
    at_consts = x_bytes + 8 * (xs + sums + moving + ct_ys + ct_xs)
    at_state = at_consts + 8 * consts
    at_xs = at_state + 8 * carry
    at_ct_xs = at_xs + 8 * (xs + 1 + moving + ct_ys + 1 + sums + moving)
    spare = word(at_ct_xs, ct_xs) + word(record, 12)
    state = FIRST_INPUT + consts
    after = state + carry + xs
    if source == INITIAL:
        put_list(frame, state, carry, at_state)
    else:
        put_block(frame, state, carry, source, offsets)
    for j in range(steps):
        i = start + j
        put_slices(frame, state + carry, xs, at_xs, x_bytes, length - 1 - i if backwards else i)
        place = to if (steps - 1 - j) % 2 == 0 else spare
        put_block(frame, after, carry, place, offsets)
        run(frame)
        put_block(frame, state, carry, place, offsets)
