"""The driver of a loop that goes on while a predicate holds."""

import numpy as np
from numba import njit

from ckpt.codegen.address import move, read
from ckpt.codegen.drivers.frame import (
    FIRST_INPUT,
    STATUS,
    enter,
    put,
    put_block,
    put_list,
    run,
    word,
)
from ckpt.codegen.drivers.states import block, set_slot, set_steps


@njit(error_model="numpy")
def while_loop(record: int) -> None:
    """Run the body while the predicate holds; keep every d-th state on the tape.

    The slots that are not reserved for the reverse take states 0, d, 2d, ...; when they are full,
    d doubles and every other state is given up. Which of two places holds the last state is known
    only afterwards: if it is the wrong one, the two change places.
    """
    record += 8  # the number of programs is known
    asked, frame = word(record, 0), word(record, 1)
    asked_consts, consts, carry = word(record, 2), word(record, 3), word(record, 4)
    max_steps, slots, arena, nbytes = (
        word(record, 5), word(record, 6), word(record, 7), word(record, 8))  # fmt: skip
    offsets = record + 8 * 9
    sizes = offsets + 8 * carry
    at_asked = sizes + 8 * carry
    at_consts = at_asked + 8 * asked_consts
    at_state = at_consts + 8 * consts
    at_result = at_state + 8 * carry
    tape = word(at_result, carry)
    scratch = word(at_result, carry + (1 if slots else 0))
    answer = scratch + arena
    spare = answer + 64
    other = block(tape, slots, nbytes, slots) if slots else spare
    enter(asked, scratch, asked_consts, at_asked)
    put(answer, word(asked, 2), FIRST_INPUT + asked_consts + carry)

    first = max(1, slots - max(2, slots // 3))
    kept, every, steps = 0, 1, 0
    put_list(asked, FIRST_INPUT + asked_consts, carry, at_state)
    run(asked)
    enter(frame, scratch, consts, at_consts)
    put_list(frame, FIRST_INPUT + consts, carry, at_state)
    while read(np.int8(0), answer, 0) != 0:
        if max_steps > 0 and steps == max_steps:
            put(1, frame, STATUS)
            break
        if slots and steps % every == 0:
            if kept == first:
                every *= 2
                kept = (kept + 1) // 2
                for j in range(1, kept):
                    move(block(tape, slots, nbytes, j), block(tape, slots, nbytes, 2 * j), nbytes)
            if steps % every == 0:
                if steps > 0:
                    to = block(tape, slots, nbytes, kept)
                    _copy(word(frame, 2) + 8 * (FIRST_INPUT + consts), to, carry, offsets, sizes)
                kept += 1
        if steps % 2 == 0:
            put_list(frame, FIRST_INPUT + consts + carry, carry, at_result)
        else:
            put_block(frame, FIRST_INPUT + consts + carry, carry, other, offsets)
        run(frame)
        steps += 1
        for f, n in ((frame, consts), (asked, asked_consts)):
            if steps % 2 == 1:
                put_list(f, FIRST_INPUT + n, carry, at_result)
            else:
                put_block(f, FIRST_INPUT + n, carry, other, offsets)
        run(asked)
    if steps == 0:
        for k in range(carry):
            move(word(at_result, k), word(at_state, k), word(sizes, k))
    elif steps % 2 == 0:  # the last state is in the other place
        for k in range(carry):
            here, there = word(at_result, k), other + word(offsets, k)
            if slots:
                between = spare + word(offsets, k)
                move(between, here, word(sizes, k))
                move(here, there, word(sizes, k))
                move(there, between, word(sizes, k))
            else:
                move(here, there, word(sizes, k))
    if slots:
        set_steps(tape, steps, kept - 1)
        for j in range(kept):
            end = steps if j == kept - 1 else (j + 1) * every
            set_slot(tape, j, j * every, end - j * every)


@njit(error_model="numpy")
def _copy(addresses: int, to: int, carry: int, offsets: int, sizes: int) -> None:
    """Copy a state from where its leaves are to a block."""
    for k in range(carry):
        move(to + word(offsets, k), word(addresses, k), word(sizes, k))
