"""What the drivers of reverse loops share: their record, a step forward, a step back."""

from typing import NamedTuple

from numba import njit

from ckpt.codegen.address import clear, move
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
from ckpt.codegen.drivers.states import INITIAL, block


class WayBack(NamedTuple):
    """The record of a reverse loop (`ckpt.ops.loop_reverse`), read once.

    Attributes:
        forward, back: frames of a step forward and a step back.
        length: 0 if the tape alone knows it.
        backwards: whether the loop went from the last slice to the first.
        consts, carry, xs, sums, moving, ct_ys, ct_xs: how many of each.
        slots, nbytes: blocks of states of the tape, and bytes of one.
        offsets, ct_offsets, sum_offsets: of leaves in their blocks; a sum whose offset is negative
            is added to where it stands.
        state_bytes, x_bytes, sum_bytes, ct_bytes, ct_y_bytes, ct_x_bytes: of leaves or slices.
        at_consts, at_state, at_xs, at_cts, at_ct_ys, at_sums, at_results, at_ct_xs: lists of
            addresses.
        scratch, spare, ct_spare, sum_spare: the arena of the programs; room for a state, for
            cotangents and for sums.
        tape: the address of the tape.
    """

    forward: int
    back: int
    length: int
    backwards: int
    consts: int
    carry: int
    xs: int
    sums: int
    moving: int
    ct_ys: int
    ct_xs: int
    slots: int
    nbytes: int
    offsets: int
    ct_offsets: int
    sum_offsets: int
    state_bytes: int
    x_bytes: int
    sum_bytes: int
    ct_bytes: int
    ct_y_bytes: int
    ct_x_bytes: int
    at_consts: int
    at_state: int
    at_xs: int
    at_cts: int
    at_ct_ys: int
    at_sums: int
    at_results: int
    at_ct_xs: int
    scratch: int
    spare: int
    ct_spare: int
    sum_spare: int
    tape: int


@njit(error_model="numpy")
def way_back(record: int) -> WayBack:
    """Read a record; bring the tape to where it is used up."""
    record += 8  # the number of programs is known
    consts, carry, xs = word(record, 4), word(record, 5), word(record, 6)
    sums, moving, ct_ys, ct_xs = (
        word(record, 7), word(record, 8), word(record, 9), word(record, 10))  # fmt: skip
    slots, nbytes = word(record, 11), word(record, 15)
    offsets = record + 8 * 16
    ct_offsets = offsets + 8 * carry
    sum_offsets = ct_offsets + 8 * moving
    state_bytes = sum_offsets + 8 * sums
    x_bytes = state_bytes + 8 * carry
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
    return WayBack(
        word(record, 0),
        word(record, 1),
        word(record, 2),
        word(record, 3),
        consts,
        carry,
        xs,
        sums,
        moving,
        ct_ys,
        ct_xs,
        slots,
        nbytes,
        offsets,
        ct_offsets,
        sum_offsets,
        state_bytes,
        x_bytes,
        sum_bytes,
        ct_bytes,
        ct_y_bytes,
        ct_x_bytes,
        at_consts,
        at_state,
        at_xs,
        at_cts,
        at_ct_ys,
        at_sums,
        at_results,
        at_ct_xs,
        scratch,
        spare,
        ct_spare,
        sum_spare,
        tape,
    )


@njit(error_model="numpy")
def begin(w: WayBack, steps: int) -> bool:
    """Clear the sums and get the programs ready; False if there is no step to go back."""
    for k in range(w.sums):
        clear(word(w.at_sums, k), word(w.sum_bytes, k))
        if word(w.sum_offsets, k) >= 0:
            clear(w.sum_spare + word(w.sum_offsets, k), word(w.sum_bytes, k))
    if steps == 0:
        for k in range(w.moving):
            move(word(w.at_results, k), word(w.at_cts, k), word(w.ct_bytes, k))
        return False
    enter(w.forward, w.scratch, w.consts, w.at_consts)
    enter(w.back, w.scratch, w.consts, w.at_consts)
    return True


@njit(error_model="numpy")
def put_state(w: WayBack, frame: int, place: int) -> None:
    """A program's state is that of a place."""
    if place == INITIAL:
        put_list(frame, FIRST_INPUT + w.consts, w.carry, w.at_state)
    else:
        put_block(frame, FIRST_INPUT + w.consts, w.carry, place, w.offsets)


@njit(error_model="numpy")
def step_forward(w: WayBack, to: int, i: int) -> None:
    """Make step i again, from the state that is put, to a place whose state is put then."""
    state = FIRST_INPUT + w.consts
    x = state + w.carry
    put_slices(w.forward, x, w.xs, w.at_xs, w.x_bytes, w.length - 1 - i if w.backwards else i)
    put_block(w.forward, x + w.xs, w.carry, to, w.offsets)
    run(w.forward)
    put_block(w.forward, state, w.carry, to, w.offsets)


@njit(error_model="numpy", inline="always")
def step_back(w: WayBack, place: int, i: int, steps: int) -> None:
    """Go back over step i, which begins with the state of a place.

    Cotangents and sums change places from step to step; the last ones are where results belong.
    """
    state = FIRST_INPUT + w.consts
    total = state + w.carry + w.xs
    ct = total + w.sums
    after = ct + w.moving + w.ct_ys
    back = w.back
    bases = word(back, 2)
    at = steps - 1 - i if w.backwards else i
    put_state(w, back, place)
    put_slices(back, state + w.carry, w.xs, w.at_xs, w.x_bytes, at)
    put_slices(back, ct + w.moving, w.ct_ys, w.at_ct_ys, w.ct_y_bytes, at)
    put_slices(back, after + w.sums + w.moving, w.ct_xs, w.at_ct_xs, w.ct_x_bytes, at)
    odd = i % 2 == 1
    for k in range(w.sums):
        here = word(w.at_sums, k)
        there = here if word(w.sum_offsets, k) < 0 else w.sum_spare + word(w.sum_offsets, k)
        put(here if odd else there, bases, total + k)
        put(there if odd else here, bases, after + k)
    if i == steps - 1:
        put_list(back, ct, w.moving, w.at_cts)
    elif odd:
        put_list(back, ct, w.moving, w.at_results)
    else:
        put_block(back, ct, w.moving, w.ct_spare, w.ct_offsets)
    if odd:
        put_block(back, after + w.sums, w.moving, w.ct_spare, w.ct_offsets)
    else:
        put_list(back, after + w.sums, w.moving, w.at_results)
    run(back)
