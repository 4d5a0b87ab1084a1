"""After how many steps to keep the next state: the closed form, for loops of any length."""

from numba import njit


@njit(error_model="numpy")
def split(length: int, slots: int) -> int:
    """The first state to keep of `length` steps, at least two, with `slots` slots, at least two.

    Source: Andreas Griewank, Andrea Walther. Algorithm 799: revolve, an implementation of
    checkpointing for the reverse or adjoint mode of computational differentiation. ACM TOMS,
    2000. The closed form in binomials b(s, r) = C(s + r, s) was checked against the recurrence.

    >>> split(10, 3)
    4
    """
    r, most = 0, 1  # b(slots, r)
    while most < length:
        r += 1
        most = most * (slots + r) // r
    once = most * r // (slots + r)  # b(slots, r - 1)
    twice, fewer = 0, 0  # b(slots, r - 2), b(slots - 1, r - 2)
    least = 1  # b(slots - 2, r - 1)
    if r >= 2:
        twice = once * (r - 1) // (slots + r - 1)
        fewer = twice * slots // (slots + r - 2)
        least = once * slots // (slots + r - 1) * (slots - 1) // (slots + r - 2)
    if length <= once + least:
        step = twice
    elif length < once + least + fewer:
        step = length - least - fewer
    else:
        step = once
    return max(1, twice, min(step, length - 1, once))
