"""What a loop can do with how much memory: bytes against seconds, one schedule each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from policies.errors import Infeasible, InvalidProblem
from policies.loops.actions import Kind, Schedule, checked_length, sweep
from policies.loops.binomial import Binomial
from policies.loops.mixed import Mixed, bound

__all__ = ["Halves", "Loop", "Option", "best_within", "options", "pareto"]

MOST_UNITS = 1 << 10
"""Memory is measured in units so large that no more than these matter."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop of equal steps, as one variant of its body runs it.

    Attributes:
        length: how often the body runs.
        carry_bytes: of the state from step to step, padding included.
        residual_bytes: of what a step leaves behind for its reverse, its first state included if
            that is needed; None if the reverse starts from the first state itself.
        step_seconds: of a step without residuals.
        keep_seconds: of a step that leaves residuals behind; 0 if the reverse needs none.
        reverse_seconds: of coming back over a step.
        working_bytes: alive all the time: states at work, the residuals of the step being reversed,
            cotangents and whatever they are added up in.

    Raises:
        InvalidProblem: a negative length, size or time, or a state or residuals without bytes.
    """

    length: int
    carry_bytes: int
    residual_bytes: int | None
    step_seconds: float
    keep_seconds: float
    reverse_seconds: float
    working_bytes: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no loop."""
        checked_length(self.length)
        times = (self.step_seconds, self.keep_seconds, self.reverse_seconds)
        if not all(0 <= t < math.inf for t in times) or self.working_bytes < 0:
            raise InvalidProblem("times and bytes of a loop are finite and not negative")
        if self.carry_bytes < 1 or (self.residual_bytes is not None and self.residual_bytes < 1):
            raise InvalidProblem("a state takes at least a byte, and so do kept residuals")

    def seconds(self, advances: int) -> float:
        """Give the seconds of the loop there and back with so many advances."""
        back = self.keep_seconds + self.reverse_seconds
        return self.length * back + advances * self.step_seconds

    def schedule(self, memory_bytes: int) -> Schedule:
        """Give the schedule for a memory, working bytes included.

        Raises:
            Infeasible: less than the working bytes.
        """
        room = memory_bytes - self.working_bytes
        if room < 0:
            raise Infeasible(
                memory_bytes,
                lower_bound_bytes=self.working_bytes,
                min_bytes=self.working_bytes,
                witness=(("working memory of the loop", self.working_bytes),),
                proved=True,
            )
        if self.residual_bytes is None:
            return Binomial(self.length, min(room // self.carry_bytes + 1, max(self.length, 1)))
        unit = self._unit(room)
        sizes = (-(-self.carry_bytes // unit), -(-self.residual_bytes // unit))
        return Mixed(self.length, room // unit, *sizes)

    def fewest(self, memory_bytes: int) -> int:
        """Give a lower bound on the advances of any schedule in a memory.

        Raises:
            Infeasible: less than the working bytes.
        """
        schedule = self.schedule(memory_bytes)
        if self.residual_bytes is None:
            return schedule.fewest
        room = memory_bytes - self.working_bytes
        unit = self._unit(room)  # sizes rounded down, and memory up, only make it easier
        if self.carry_bytes % unit == self.residual_bytes % unit == 0:
            return schedule.fewest
        sizes = (self.carry_bytes // unit, self.residual_bytes // unit)
        return bound(self.length, -(-room // unit), *sizes)

    def halves(self, schedule: Schedule) -> Halves:
        """Say what a schedule holds between the forward sweep and the way back, and their seconds.

        The last step's residuals, or its first state, are counted as working memory.
        """
        rows = sweep(schedule)
        steps = rows[rows[:, 0] == Kind.ADVANCE]
        ran = int((steps[:, 2] - steps[:, 1]).sum())
        kept = int((rows[:, 0] == Kind.RECORD).sum())
        states = int((rows[:, 0] == Kind.STORE).sum() - (rows[:, 0] == Kind.FREE).sum())
        forward = ran * self.step_seconds + kept * self.keep_seconds
        repeated = 0.0  # a reverse that starts from the state has no use for the last step's run
        if self.length and self.residual_bytes is None:
            repeated = self.step_seconds
            forward += repeated
        elif self.length:
            forward += self.keep_seconds
        return Halves(
            states * self.carry_bytes + kept * (self.residual_bytes or 0),
            forward,
            self.seconds(schedule.advances) + repeated - forward,
        )

    def _unit(self, room: int) -> int:
        """Give the bytes in which memory is measured: exact, or with few enough units."""
        assert self.residual_bytes is not None
        exact = math.gcd(self.carry_bytes, self.residual_bytes)
        if room >= (self.length - 1) * self.residual_bytes:
            return self.residual_bytes  # all steps' residuals fit
        room = 1 << room.bit_length()  # the same unit, and so the same tables, for similar memories
        if room // exact <= MOST_UNITS:
            return exact
        small = min(self.carry_bytes, self.residual_bytes)
        return -(-small // max(1, small * MOST_UNITS // room))


@dataclass(frozen=True, slots=True)
class Halves:
    """A schedule cut where the forward sweep ends.

    Attributes:
        held_bytes: of states and residuals in slots there.
        forward_seconds: of the sweep, the last step included.
        backward_seconds: of the rest.
    """

    held_bytes: int
    forward_seconds: float
    backward_seconds: float


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a loop.

    Attributes:
        memory_bytes: slots and working memory, for which it is meant.
        seconds: there and back.
        bound_seconds: no schedule within these bytes takes less.
        advances: steps run without residuals.
        schedule: what to do.
    """

    memory_bytes: int
    seconds: float
    bound_seconds: float
    advances: int
    schedule: Schedule


def options(loop: Loop, most: int = 24) -> tuple[Option, ...]:
    """Give the choice that a loop offers: more and more memory for less and less time.

    The bound of an option holds for its bytes: with no more memory no schedule is faster that
    stores states and residuals whole and holds them until they are used.

    Args:
        loop: what is to be run.
        most: options, at least 2.

    Returns:
        At most so many options, memory strictly rising, seconds strictly falling; the first takes
        the working memory alone, the last advances over nothing twice.

    >>> loop = Loop(1000, 2**20, None, 1e-4, 0.0, 2e-4, working_bytes=4 * 2**20)
    >>> for option in options(loop, most=6):
    ...     print(option.memory_bytes >> 20, option.advances, f"{option.seconds:.3f}")
    4 499500 50.150
    5 28820 3.082
    10 4713 0.671
    36 2370 0.437
    182 1819 0.382
    1002 999 0.300
    """
    if most < 2:
        raise InvalidProblem(f"at least 2 options, not {most}")
    object_bytes = loop.carry_bytes
    largest = max(0, loop.length - 2)
    if loop.residual_bytes is not None:
        object_bytes = math.gcd(loop.carry_bytes, loop.residual_bytes)
        largest = max(0, loop.length - 1) * (loop.residual_bytes // object_bytes)
    found: list[Option] = []
    for count in _spread(largest, most):
        memory_bytes = loop.working_bytes + count * object_bytes
        schedule = loop.schedule(memory_bytes)
        advances = schedule.advances
        least = loop.seconds(loop.fewest(memory_bytes))
        found.append(Option(memory_bytes, loop.seconds(advances), least, advances, schedule))
    return pareto(found)


def best_within(choices: Sequence[Option], memory_bytes: int) -> Option:
    """Give the fastest option that fits.

    Raises:
        Infeasible: none does; it tells the bytes of the smallest.
    """
    fitting = [option for option in choices if option.memory_bytes <= memory_bytes]
    if not fitting:
        least = min(option.memory_bytes for option in choices)
        raise Infeasible(
            memory_bytes,
            lower_bound_bytes=least,
            min_bytes=least,
            witness=(("the loop at its smallest", least),),
        )
    return min(fitting, key=lambda option: (option.seconds, option.memory_bytes))


def pareto(choices: Iterable[Option]) -> tuple[Option, ...]:
    """Leave out whatever takes no less time than something smaller.

    So options of several variants of a body become one list.
    """
    kept: list[Option] = []
    for option in sorted(choices, key=lambda o: (o.memory_bytes, o.seconds)):
        if not kept or option.seconds < kept[-1].seconds:
            kept.append(option)
    return tuple(kept)


def _spread(largest: int, most: int) -> list[int]:
    """Give whole numbers from 0 to the largest, each about the same factor above the one before.

    >>> _spread(1000, 6)
    [0, 1, 6, 32, 178, 1000]
    """
    ratio = max(largest, 1) ** (1 / max(most - 2, 1))
    return sorted({0, largest, *(min(largest, round(ratio**i)) for i in range(most - 1))})
