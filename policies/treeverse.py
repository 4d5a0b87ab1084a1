"""The closed form for loops: how few steps forward a number of slots allows.

A chain of equal steps is run back from its end; a state that is needed is either in a slot or made
again from an earlier one.
"""

from __future__ import annotations

from policies.errors import InvalidProblem

__all__ = ["forward_steps", "split"]


def forward_steps(length: int, slots: int) -> int:
    """Give the fewest steps forward to run ``length`` steps back, the first run included.

    Args:
        length: steps of the loop.
        slots: states that may be kept at once beside the one in hand, the first one included.

    Returns:
        Steps forward in all; the step that is run back restarts from its own input.

    Raises:
        InvalidProblem: a length below zero, or no slot.

    Source: Andreas Griewank. Achieving logarithmic growth of temporal and spatial complexity in
    reverse automatic differentiation. Optimization Methods and Software, 1992.  José Grimm, Loïc
    Pottier, Nicole Rostaing-Schmidt. Optimal time and minimum space-time product for reversing a
    certain class of programs. 1996 (the closed form).

    >>> [forward_steps(10, slots) for slots in (1, 2, 3, 10)]
    [45, 20, 15, 9]
    """
    if length < 0 or slots < 1:
        raise InvalidProblem(f"a loop has {length} steps and {slots} slots: at least 0 and 1")
    if length == 0:
        return 0
    if slots == 1:
        return length * (length - 1) // 2
    repeats, reach = 0, 1  # so many steps can be run back with each run forward so often
    while reach < length:
        repeats += 1
        reach = reach * (slots + repeats) // repeats
    return repeats * length - reach * repeats // (slots + 1)


def split(length: int, slots: int) -> int:
    """Give after how many steps forward to fill the next slot.

    Raises:
        InvalidProblem: fewer than two steps, or fewer than two slots.

    >>> split(10, 3)
    4
    """
    if length < 2 or slots < 2:
        raise InvalidProblem("there is nothing to split")
    return min(
        range(1, length),
        key=lambda step: (
            step + forward_steps(length - step, slots - 1) + forward_steps(step, slots),
            step,
        ),
    )
