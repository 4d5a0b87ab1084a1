"""Equal steps, some states in fast memory and some in slow, which takes time to write and read.

``A(n, m, d, at)`` is the time, in steps, to reverse ``n`` steps whose first state is in hand and is
stored in fast or slow memory, with ``m`` and ``d`` free slots there, besides the reversals::

    A(1, ...) = 0
    A(n, m, d, at) = min( (n - 1) + back + A'(n - 1, m, d, at),
                          min over k of  k + A(n - k, m - 1, d, fast) + back + A'(k, m, d, at),
                          min over k of  k + write + A(n - k, m, d - 1, slow) + back + A'(k, ...) )
    A'(n, m, d, slow) = min( A(n, m, d, slow), A(n, m - 1, d + 1, fast) )

``back`` is the time of a read if the first state is in slow memory; a state that was read may stay
in fast memory instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from policies.errors import InvalidProblem
from policies.loops.actions import IN_HAND, INPUT, Kind, Schedule, Tape, checked_length, pieces
from policies.loops.binomial import Binomial, forward_steps
from policies.loops.two_level_table import FAST, SLOW, LevelTables, decide, stays, tables_of, value

__all__ = ["TwoLevel"]


@dataclass(frozen=True, slots=True)
class TwoLevel(Schedule):
    """The least time when states may also go to slow memory.

    Copies are taken to be waited for.  The times stand for the bandwidths: bytes of a state over
    that of the link, over the seconds of a step.  ``ckpt.scan(..., schedule=...)`` runs it.

    Attributes:
        length: steps of the loop.
        fast: slots in fast memory, the input of the loop, which is always there, aside.
        slow: slots in slow memory.
        write_steps: time of a write, in units of the time of a step.
        read_steps: time of a read, likewise.

    Raises:
        InvalidProblem: a negative length, slot or time, or one that is not finite.

    >>> [TwoLevel(100, 4, slow, 2.0, 2.0).steps for slow in (0, 5)]
    [316.0, 262.0]

    Source: Guillaume Aupy, Julien Herrmann, Paul Hovland, Yves Robert. Optimal multistage algorithm
    for adjoint computation. SIAM Journal on Scientific Computing, 2016 (the recurrence).
    """

    length: int
    fast: int
    slow: int
    write_steps: float
    read_steps: float

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        checked_length(self.length)
        times = (self.write_steps, self.read_steps)
        if min(self.fast, self.slow) < 0 or not all(0 <= t < math.inf for t in times):
            raise InvalidProblem(
                f"{self.fast} fast and {self.slow} slow slots, written in {times[0]} and read in "
                f"{times[1]} steps: none may be negative, and times are finite"
            )

    @property
    def slots(self) -> int:
        """States in fast memory."""
        return min(self.fast, max(0, self.length - 2))

    @property
    def slow_slots(self) -> int:
        """States in slow memory."""
        return min(self.slow, max(0, self.length - 2))

    @property
    def steps(self) -> float:
        """Advances, writes and reads together, in units of the time of a step."""
        advances, writes, reads = self._counts()
        return advances + writes * self.write_steps + reads * self.read_steps

    @property
    def fewest_steps(self) -> float:
        """No schedule with these slots takes less."""
        if not self.slow_slots:
            return float(self.fewest)
        tables = self._tables()
        return float(value(tables, self.length, self.slots, self.slow_slots, FAST))

    @property
    def advances(self) -> int:
        """Steps run, without those that are reversed from."""
        return self._counts()[0]

    @property
    def fewest(self) -> int:
        """What as many slots of fast memory allow."""
        return forward_steps(self.length, 1 + self.slots + self.slow_slots)

    def tapes(self, rows: int = 4096) -> Iterator[Tape]:
        """Write the actions piece by piece."""
        if not self.slow_slots:
            return Binomial(self.length, self.fast + 1).tapes(rows)
        return pieces(self._walk(), rows)

    def _tables(self) -> LevelTables:
        return tables_of(
            self.length, self.slots, self.slow_slots, self.write_steps, self.read_steps
        )

    def _counts(self) -> tuple[int, int, int]:
        """Count advances, writes and reads; equal segments are counted once."""
        if not self.slow_slots:
            return self.fewest, 0, 0
        tables = self._tables()
        known: dict[tuple[int, int, int, int], tuple[int, int, int]] = {}
        todo = [(self.length, self.slots, self.slow_slots, FAST)]
        while todo:
            state = todo[-1]
            n, m, d, at = state
            if n == 1:
                known[state] = (0, 0, 0)
            if state in known:
                todo.pop()
                continue
            k, to = decide(tables, *state)
            promoted = stays(tables, k, m, d, at)
            left = (k, m - 1, d + 1, FAST) if promoted else (k, m, d, at)
            right = _right(n - k, m, d, to)
            if left not in known or right not in known:
                todo.extend((left, right))
                continue
            both = (a + b for a, b in zip(known[left], known[right], strict=True))
            extra = (k, int(to == SLOW), int(at == SLOW))
            advances, writes, reads = (a + b for a, b in zip(both, extra, strict=True))
            known[state] = (advances, writes, reads)
        return known[self.length, self.slots, self.slow_slots, FAST]

    def _walk(self) -> Iterator[tuple[int, int, int]]:
        """Give the rows of the tape."""
        if not self.length:
            return
        tables = self._tables()
        depth = [0, 0]
        put, take, free = _KINDS
        decided: dict[tuple[int, int, int, int], tuple[int, int]] = {}
        # start, steps, free slots, where the first state is, its slot, to be fetched from there
        todo = [(0, self.length, self.slots, self.slow_slots, FAST, INPUT, False)]
        while todo:
            start, n, m, d, at, slot, fetched = todo.pop()
            if fetched:
                yield take[at], start, slot
                if stays(tables, n, m, d, at):
                    yield Kind.STORE, start, depth[FAST]
                    yield Kind.ERASE, start, slot
                    m, d, at, slot = m - 1, d + 1, FAST, depth[FAST]
                    depth[FAST] += 1
                    depth[SLOW] -= 1
            if n == 1:
                if slot >= 0:
                    yield free[at], start, slot
                    depth[at] -= 1
                yield Kind.REVERSE, start, IN_HAND
                continue
            state = (n, m, d, at)
            if state not in decided:
                if len(decided) > 1 << 16:
                    decided.clear()
                decided[state] = decide(tables, *state)
            k, to = decided[state]
            yield Kind.ADVANCE, start, start + k
            todo.append((start, k, m, d, at, slot, True))
            if to < 0:
                yield Kind.REVERSE, start + k, IN_HAND
                continue
            yield put[to], start + k, depth[to]
            _, m, d, _ = _right(n - k, m, d, to)
            todo.append((start + k, n - k, m, d, to, depth[to], False))
            depth[to] += 1


_KINDS = (
    (Kind.STORE, Kind.WRITE),
    (Kind.RESTORE, Kind.READ),
    (Kind.FREE, Kind.ERASE),
)


def _right(n: int, m: int, d: int, to: int) -> tuple[int, int, int, int]:
    """Give the state of the segment after a passed one whose end was stored there, or nowhere."""
    if to < 0:
        return (1, 0, 0, FAST)
    return (n, m - 1, d, FAST) if to == FAST else (n, m, d - 1, SLOW)
