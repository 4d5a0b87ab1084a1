"""Bytes alive at each let when a program runs every let once, in order."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Counts = np.ndarray[Any, np.dtype[np.int64]]

_LINE = 64


def padded(nbytes: int) -> int:
    """Bytes that a buffer takes in an arena."""
    return -(-nbytes // _LINE) * _LINE


class Alive:
    """The profile of the arena, to be changed and asked again.

    A value is alive from the let that makes it to the last that reads it; scratch, and what a
    result saves by taking over the memory of a dying operand, count at one let.
    """

    def __init__(self, n_lets: int) -> None:
        self.held: Counts = np.zeros(n_lets, np.int64)
        self.extra: Counts = np.zeros(n_lets, np.int64)

    def hold(self, first: int, last: int, nbytes: int) -> None:
        """Count bytes at the lets from `first` to `last`; negative ones take them away."""
        self.held[first : last + 1] += nbytes

    def peak(self, first: int = 0, last: int | None = None) -> int:
        """The most bytes alive at one of the lets from `first` to `last`."""
        stop = len(self.held) if last is None else last + 1
        return int((self.held[first:stop] + self.extra[first:stop]).max(initial=0))

    def set_extra(self, extra: Mapping[int, int]) -> dict[int, int]:
        """Change what counts at one let each; returns what it was."""
        before = {at: int(self.extra[at]) for at in extra}
        for at, nbytes in extra.items():
            self.extra[at] = nbytes
        return before
