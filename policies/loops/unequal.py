"""Unequal steps: a chain whose states, residuals and times differ from step to step.

``V(i, j, m)`` are the seconds to reverse steps ``i`` to ``j - 1`` from the state ``i``, which is in
hand, with ``m`` units of memory; the residuals of the step being reversed are in ``m``, and so is
state ``i`` while it is stored::

    V(i, i + 1, m) = keep_i                                                if m >= r_i
    V(i, j, m) = min( keep_i + V(i + 1, j, m - r_i),
                      min over k of  run_i + ... + run_(k - 1) + V(k, j, m - c_i) + V(i, k, m) )

where ``keep_i`` runs and reverses a step with its residuals kept.  The first state of the whole
chain is its input: it takes no room, and gives none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policies.errors import Infeasible, InvalidProblem
from policies.loops.actions import IN_HAND, INPUT, Kind, Schedule, Tape, pieces

__all__ = ["Step", "Unequal"]

MOST_CELLS = 10_000_000
"""Of the table, 64 bits each; sizes are rounded up to larger units in longer chains."""

_UNSTORED = -2


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chain.

    Attributes:
        carry_bytes: of its first state.
        residual_bytes: of what it leaves behind for its reverse, its first state included if that
            is needed.
        seconds: of running it without residuals.
        keep_seconds: of running it with its residuals kept.
        reverse_seconds: of coming back over it.
    """

    carry_bytes: int
    residual_bytes: int
    seconds: float
    keep_seconds: float
    reverse_seconds: float


@dataclass(frozen=True, slots=True)
class Unequal(Schedule):
    """The least time for a chain of unequal steps in a memory.

    Attributes:
        steps: of the chain, in order.
        budget_bytes: for stored states and residuals, those of the step being reversed included;
            the input of the chain and the state in hand aside.

    Raises:
        Infeasible: the residuals of some step do not fit.
        InvalidProblem: a negative size or time, or a chain too long for its table.

    >>> step = Step(carry_bytes=1, residual_bytes=3, seconds=1, keep_seconds=1, reverse_seconds=2)
    >>> dear = Step(carry_bytes=4, residual_bytes=5, seconds=9, keep_seconds=9, reverse_seconds=9)
    >>> schedule = Unequal((step, dear, step, step), budget_bytes=9)
    >>> schedule.seconds, schedule.fewest_seconds
    (29.0, 29.0)
    >>> print(*schedule, sep=", ")
    advance 0 -> 1, record 1 [0], store 2 [0], advance 2 -> 3, reverse 3, restore 2 [0], \
free 2 [0], reverse 2, reverse 1 [0], restore 0 (input), reverse 0

    Source: Olivier Beaumont, Lionel Eyraud-Dubois, Julien Herrmann, Alexis Joly, Alena Shilova.
    Optimal checkpointing for heterogeneous chains: how to train deep neural networks with limited
    memory. 2019.
    """

    steps: tuple[Step, ...]
    budget_bytes: int

    def __post_init__(self) -> None:
        """Refuse what is no chain, and budgets too small for some step."""
        for i, step in enumerate(self.steps):
            times = (step.seconds, step.keep_seconds, step.reverse_seconds)
            sizes = (step.carry_bytes, step.residual_bytes)
            if min(sizes) < 0 or not all(0 <= t < math.inf for t in times):
                raise InvalidProblem(f"step {i}: sizes and times are finite and not negative")
        most = max((step.residual_bytes for step in self.steps), default=0)
        if most > self.budget_bytes:
            tight = next(i for i, step in enumerate(self.steps) if step.residual_bytes == most)
            raise Infeasible(
                self.budget_bytes,
                lower_bound_bytes=most,
                min_bytes=most,
                witness=((f"residuals of step {tight}", most),),
                proved=True,
            )

    @property
    def length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Steps of the chain."""
        return len(self.steps)

    @property
    def slots(self) -> int:
        """States stored at once, at most."""
        return max(0, self.length - 2)

    @property
    def kept_slots(self) -> int:
        """Steps whose residuals are kept at once, at most."""
        return max(0, self.length - 1)

    @property
    def seconds(self) -> float:
        """Of the schedule, reverses included."""
        return self._always() + self._extra(_filled(self.steps, self.budget_bytes, up=True)[0])

    @property
    def fewest_seconds(self) -> float:
        """Of any schedule in this memory that holds what it keeps until it is used."""
        up, exact = _filled(self.steps, self.budget_bytes, up=True)
        table = up if exact else _filled(self.steps, self.budget_bytes, up=False)[0]
        return self._always() + self._extra(table)

    @property
    def advances(self) -> int:
        """Steps run without keeping residuals."""
        rows = self.tape()
        moved = rows[rows[:, 0] == Kind.ADVANCE]
        return int((moved[:, 2] - moved[:, 1]).sum())

    @property
    def fewest(self) -> int:
        """Nothing is certified of the number of steps, which differ: see ``fewest_seconds``."""
        return 0

    def tapes(self, rows: int = 4096) -> Iterator[Tape]:
        """Write the actions piece by piece."""
        return pieces(self._walk(), rows)

    def _always(self) -> float:
        return math.fsum(s.keep_seconds + s.reverse_seconds for s in self.steps)

    def _extra(self, table: _Table) -> float:
        return float(table.best[0, self.length, table.units]) if self.steps else 0.0

    def _walk(self) -> Iterator[tuple[int, int, int]]:
        """Give the rows of the tape."""
        if not self.steps:
            return
        table, _ = _filled(self.steps, self.budget_bytes, up=True)
        depth = kept_depth = 0
        # first step, last, units, slot of the first state, to be restored from there
        todo = [(0, self.length, table.units, INPUT, False)]
        while todo:
            i, j, m, slot, restored = todo.pop()
            if j < i:  # a kept step's turn
                kept_depth -= 1
                yield Kind.REVERSE, i, slot
                continue
            if restored:
                yield Kind.RESTORE, i, slot
            k = int(_choose(table.best, table.carry, table.residual, table.run, i, j, m))
            if slot >= 0 and k == i:
                yield Kind.FREE, i, slot
                depth -= 1
            if j == i + 1:
                yield Kind.REVERSE, i, IN_HAND
            elif k == i:
                yield Kind.RECORD, i, kept_depth
                todo.append((i, -1, 0, kept_depth, False))
                todo.append((i + 1, j, m - int(table.residual[i]), _UNSTORED, False))
                kept_depth += 1
            else:
                if slot == _UNSTORED:
                    slot = depth
                    yield Kind.STORE, i, slot
                    depth += 1
                yield Kind.ADVANCE, i, k
                todo.append((i, k, m, slot, True))
                todo.append((k, j, m - int(table.carry[i]), _UNSTORED, False))


@dataclass(frozen=True, slots=True)
class _Table:
    """The table of a chain.

    Attributes:
        best: f64[L + 1, L + 1, M + 1], seconds beyond running each step once with its residuals.
        carry: i64[L], units of states, none for the input.
        residual: i64[L], units of residuals.
        run: f64[L + 1], seconds of the steps before, without residuals.
        units: of memory, M.
    """

    best: NDArray[np.float64]
    carry: NDArray[np.int64]
    residual: NDArray[np.int64]
    run: NDArray[np.float64]
    units: int


@lru_cache(maxsize=8)
def _filled(steps: Sequence[Step], budget_bytes: int, *, up: bool) -> tuple[_Table, bool]:
    """Fill the table with sizes rounded up or down; the flag says that nothing was rounded.

    Raises:
        InvalidProblem: the chain is too long.
    """
    length = len(steps)
    sizes = [s.carry_bytes for s in steps[1:]] + [s.residual_bytes for s in steps]
    budget_bytes = min(budget_bytes, sum(sizes))
    measure = math.gcd(*sizes) or 1
    most = MOST_CELLS // (length + 1) ** 2 - 1
    if most < 16:
        raise InvalidProblem(f"a chain of {length} unequal steps is too long for its table")
    unit = measure * max(1, -(-(budget_bytes // measure) // most))

    def rounded(size: int) -> int:
        return -(-size // unit) if up else size // unit

    residual = np.array([rounded(s.residual_bytes) for s in steps], np.int64)
    units = budget_bytes // unit
    if units < int(residual.max(initial=0)):  # the largest step fits, though not when rounded
        unit = max(s.residual_bytes for s in steps)
        residual = np.array([rounded(s.residual_bytes) for s in steps], np.int64)
        units = budget_bytes // unit
    carry = np.array([0] + [rounded(s.carry_bytes) for s in steps[1:]], np.int64)[:length]
    run = np.concatenate(([0.0], np.cumsum([s.seconds for s in steps])))
    best = _fill(carry, residual, run, units)
    return _Table(best, carry, residual, run, units), unit == measure


@njit(cache=True)
def _fill(
    carry: NDArray[np.int64], residual: NDArray[np.int64], run: NDArray[np.float64], units: int
) -> NDArray[np.float64]:
    length = carry.size
    best = np.full((length + 1, length + 1, units + 1), np.inf)
    for i in range(length - 1, -1, -1):
        best[i, i + 1, residual[i] :] = 0.0
        for j in range(i + 2, length + 1):
            mine = best[i, j]
            r, c = residual[i], carry[i]
            for m in range(r, units + 1):
                mine[m] = best[i + 1, j, m - r]
            for k in range(i + 1, j):
                moved = run[k] - run[i]
                for m in range(c, units + 1):
                    mine[m] = min(mine[m], moved + best[k, j, m - c] + best[i, k, m])
    return best


@njit(cache=True)
def _choose(  # noqa: PLR0917 (arrays, for the inner loop)
    best: NDArray[np.float64],
    carry: NDArray[np.int64],
    residual: NDArray[np.int64],
    run: NDArray[np.float64],
    i: int,
    j: int,
    m: int,
) -> int:
    """Give the step to run up to, or ``i`` to keep the first one, or to reverse it."""
    choice, least = i, np.inf
    if j > i + 1 and m >= residual[i]:
        least = best[i + 1, j, m - residual[i]]
    if m >= carry[i]:
        for k in range(i + 1, j):
            time = run[k] - run[i] + best[k, j, m - carry[i]] + best[i, k, m]
            if time < least:
                choice, least = k, time
    return choice
