"""Loops whose length nobody knows: states are stored on the way and thinned out as it goes on.

On the way forward the states at multiples of a distance are stored; when their slots are full,
every second one is given up and the distance doubles.  A third of the slots stays empty for the
way back, which takes the stored states from the last to the first: between two of them, and after
the last, it is the loop of ``policies.loops.binomial`` with the slots that are free by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from policies.errors import InvalidProblem
from policies.loops.actions import INPUT, Action, Kind, Schedule, Tape, checked_length
from policies.loops.binomial import Binomial, forward_steps

__all__ = ["Keeper", "Online", "way_back"]


@dataclass(slots=True)
class Keeper:
    """What is stored while a loop of unknown length runs forward.

    Attributes:
        states: that may be kept at once beside the one in hand, the input of the loop included.
        distance: states are stored at its multiples.
        stored: the slot of each stored state, in order; the input's is ``INPUT``.

    Raises:
        InvalidProblem: no state.

    >>> keeper = Keeper(6)
    >>> [(step, str(action)) for step in range(1, 9) for action in keeper.arrive(step)]
    [(1, 'store 1 [0]'), (2, 'store 2 [1]'), (3, 'store 3 [2]'), (4, 'free 1 [0]'), \
(4, 'free 3 [2]'), (4, 'store 4 [2]'), (6, 'store 6 [0]'), (8, 'free 2 [1]'), (8, 'free 6 [0]'), \
(8, 'store 8 [0]')]
    """

    states: int
    distance: int = 1
    stored: dict[int, int] = field(default_factory=lambda: {0: INPUT})
    empty: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        """Every slot is empty before the first step."""
        if self.states < 1:
            raise InvalidProblem(f"{self.states} states: the input of the loop is one, always")
        self.empty = list(range(self.states - 2, -1, -1))

    @property
    def reserved(self) -> int:
        """Slots that stay empty on the way forward."""
        return min(self.states - 1, max(2, self.states // 3))

    def arrive(self, step: int) -> list[Action]:
        """Say what to do with the state before a step, when the loop gets there, step by step."""
        if step % self.distance or step == 0 or self.reserved == self.states - 1:
            return []
        rows: list[Action] = []
        if len(self.stored) == self.states - self.reserved:
            self.distance *= 2
            for there in [s for s in self.stored if s % self.distance]:
                slot = self.stored.pop(there)
                self.empty.append(slot)
                rows.append(Action(Kind.FREE, there, slot))
        if step % self.distance == 0:
            slot = self.stored[step] = self.empty.pop()
            rows.append(Action(Kind.STORE, step, slot))
        return rows

    def pause(self, step: int) -> int:
        """Give the next step at which there may be something to do.

        >>> Keeper(6, distance=4).pause(5)
        8
        """
        return step - step % self.distance + self.distance


@dataclass(frozen=True, slots=True)
class Online(Schedule):
    """What a loop of unknown length does, when it turns out to be so long.

    The last step is run on the way forward too: only its end tells that it was the last.

    Attributes:
        length: steps of the loop, looked at on the way back only.
        states: that may be kept at once beside the one in hand, the input of the loop included.

    Raises:
        InvalidProblem: a length below zero or beyond 2^31 - 2, or no state.

    >>> Online(1000, 30).advances, Binomial(1000, 30).advances
    (2608, 2472)
    """

    length: int
    states: int

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        checked_length(self.length)
        if self.states < 1:
            raise InvalidProblem(f"{self.states} states: the input of the loop is one, always")

    @property
    def slots(self) -> int:
        """States beside the input."""
        return self.states - 1

    @property
    def advances(self) -> int:
        """The way forward, and each segment from its first state."""
        keeper = Keeper(self.states)
        for _ in self._forward(keeper):
            pass
        return self.length + sum(
            forward_steps(steps, states) for _, _, steps, states in _segments(keeper, self.length)
        )

    @property
    def fewest(self) -> int:
        """What is possible when the length is known beforehand."""
        return forward_steps(self.length, self.states)

    def tapes(self, rows: int = 4096) -> Iterator[Tape]:
        """Write the way forward, then the way back."""
        keeper = Keeper(self.states)
        forward = list(self._forward(keeper))
        for at in range(0, len(forward), rows):
            yield np.array(forward[at : at + rows], np.int32)
        yield from way_back(keeper, self.length, rows)

    def _forward(self, keeper: Keeper) -> Iterator[Action]:
        step = 0
        while step < self.length:
            after = min(keeper.pause(step), self.length)
            yield Action(Kind.ADVANCE, step, after)
            step = after
            if step < self.length:
                yield from keeper.arrive(step)


def way_back(keeper: Keeper, length: int, rows: int = 4096) -> Iterator[Tape]:
    """Come back over a loop that ran so many steps with a keeper.

    Args:
        keeper: as it was left; it is not changed.
        length: steps that were run.
        rows: of a piece, at most.
    """
    empty = list(keeper.empty)
    for first, slot, steps, states in _segments(keeper, length):
        head = [(Kind.RESTORE, first, slot)]
        yield np.array(head, np.int32)
        place = np.array([*empty[::-1], slot], np.int32)  # its input is last, that is at -1
        for piece in Binomial(steps, states).tapes(rows):
            kind = piece[:, 0]
            piece[:, 1] += first
            piece[kind == Kind.ADVANCE, 2] += np.int32(first)
            moved = (kind == Kind.STORE) | (kind == Kind.RESTORE) | (kind == Kind.FREE)
            piece[moved, 2] = place[piece[moved, 2]]
            yield piece
        if slot != INPUT:
            yield np.array([(Kind.FREE, first, slot)], np.int32)
            empty.append(slot)


def _segments(keeper: Keeper, length: int) -> Iterator[tuple[int, int, int, int]]:
    """Give the first step, its slot, the steps and the states of each segment, last one first."""
    end = length
    for before, (first, slot) in reversed(list(enumerate(keeper.stored.items()))):
        if first < end:
            yield first, slot, end - first, keeper.states - before
        end = first
