"""The driver of a choice between programs."""

from numba import njit

from ckpt.codegen.drivers.frame import FIRST_INPUT, enter, put_list, run, word


@njit(error_model="numpy")
def branch(record: int) -> None:
    """Run the program with the number that the first operand holds."""
    programs = word(record, 0)
    numbers = record + 8 * (1 + programs)
    n_ins, n_outs = word(numbers, 0), word(numbers, 1)
    at_index = numbers + 8 * 2
    at_ins = at_index + 8
    at_outs = at_ins + 8 * n_ins
    which = min(max(word(word(at_index, 0), 0), 0), programs - 1)
    frame = word(record, 1 + which)
    enter(frame, word(at_outs, n_outs), 0, at_ins)
    put_list(frame, FIRST_INPUT, n_ins, at_ins)
    put_list(frame, FIRST_INPUT + n_ins, n_outs, at_outs)
    run(frame)
