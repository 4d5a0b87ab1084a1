"""Where the states of a loop stand: on the tape, whose layout is that of `ckpt.ir.tape`."""

from numba import njit

from ckpt.codegen.drivers.frame import put, put_block, put_list, run, word

INITIAL = 0
"""In place of the address of a block: the state that the loop began with, which is an operand."""

RESULT = 1
"""In place of the address of a block: where the last state belongs."""


@njit(error_model="numpy")
def block(tape: int, slots: int, nbytes: int, slot: int) -> int:
    """The block of a slot; that of the last state is one past the last slot's."""
    header = (2 + 2 * slots + 7) // 8 * 64
    return INITIAL if slot == 0 else tape + header + (slot - 1) * nbytes


@njit(error_model="numpy")
def set_steps(tape: int, steps: int, depth: int) -> None:
    """Write how many steps a loop made, and the number of its last slot."""
    put(steps, tape, 0)
    put(depth, tape, 1)


@njit(error_model="numpy")
def set_steps_and_row(tape: int, steps: int, row: int) -> None:
    """Write how many steps a loop with a schedule made, and the action that comes next."""
    put(steps, tape, 0)
    put(row, tape, 1)


@njit(error_model="numpy")
def set_hand(tape: int, hand: int, slow: int, slow_bytes: int) -> None:
    """Write where the state in hand is, on the tape or in slow memory, and where that is.

    Both may stand elsewhere later.
    """
    if slow <= hand < slow + slow_bytes:
        put(-1 - (hand - slow), tape, 2)
    else:
        put(0 if hand == INITIAL else hand - tape, tape, 2)
    put(slow, tape, 3)


@njit(error_model="numpy")
def row_of(tape: int) -> int:
    """The action that a schedule goes on with."""
    return word(tape, 1)


@njit(error_model="numpy")
def slow_of(tape: int) -> int:
    """Where slow memory is."""
    return word(tape, 3)


@njit(error_model="numpy")
def hand_of(tape: int, slow: int) -> int:
    """Where the state in hand is."""
    offset = word(tape, 2)
    if offset < 0:
        return slow + (-1 - offset)
    return INITIAL if offset == 0 else tape + offset


@njit(error_model="numpy")
def set_slot(tape: int, slot: int, start: int, length: int) -> None:
    """Write which step the state in a slot precedes, and how many steps go back from it."""
    put(start, tape, 2 + 2 * slot)
    put(length, tape, 3 + 2 * slot)


@njit(error_model="numpy")
def start_of(tape: int, slot: int) -> int:
    """The step that the state in a slot precedes."""
    return word(tape, 2 + 2 * slot)


@njit(error_model="numpy")
def length_of(tape: int, slot: int) -> int:
    """How many steps go back from the state in a slot."""
    return word(tape, 3 + 2 * slot)


@njit(error_model="numpy")
def step_into(
    frame: int, state: int, after: int, carry: int, place: int, at_result: int, offsets: int
) -> None:
    """Run a body whose next state goes to a block, or to the result; the next run begins with it.

    Args:
        frame: of the body.
        state: the number of the base of the first leaf of its state.
        after: that of the state it makes.
        carry: leaves of a state.
        place: the address of a block, or `RESULT`.
        at_result: addresses of the leaves of the result.
        offsets: of leaves in a block.
    """
    if place == RESULT:
        put_list(frame, after, carry, at_result)
    else:
        put_block(frame, after, carry, place, offsets)
    run(frame)
    if place == RESULT:
        put_list(frame, state, carry, at_result)
    else:
        put_block(frame, state, carry, place, offsets)
