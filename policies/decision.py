"""The answer: an order of events, what it costs, and how far from the best it can be."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from policies.problem import Choice

__all__ = ["Choice", "Decision", "Event", "Fetch", "Free", "Status", "Store"]


class Status(enum.Enum):
    """How a policy ended: proved best, done, or cut short by its limits."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True, slots=True)
class Store:
    """Copy a live value to slow memory; the fast copy stays until it is freed or dies."""

    value: Hashable


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring a stored value back: a new fast copy, alive from here on."""

    value: Hashable


@dataclass(frozen=True, slots=True)
class Free:
    """Give up the fast copy of a value, waiting for its copy to slow memory to be complete."""

    value: Hashable


Event = Hashable
"""An item of an order: a task id (run it), or a Store, Fetch or Free."""


def _no_choices() -> Mapping[Hashable, Choice]:
    return MappingProxyType({})


def _no_options() -> Mapping[Hashable, str]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Decision:
    """What to run and when; a task that stands twice in ``order`` is recomputed.

    Attributes:
        order: task ids, and Store, Fetch and Free events; authoritative.
        peak_bytes: most bytes alive at once, reserved bytes included.
        seconds: of the whole order, recomputations and stalls included.
        baseline_seconds: of every task once.
        bound_seconds: no order that fits the budget takes less.
        bound_engine: what proved the bound.
        status: proved best, or not.
        policy: name of the policy.
        solve_seconds: wall time that was spent deciding.
        budget_bytes: the cap that was kept.
        choice: for each task, what becomes of its values; derived from the order.
        options: for each group, the option that was chosen.
        kept: for each known value that is kept for the unknown stage, SAVE (loaded once, resident
            between calls) or OFFLOAD (at rest, loaded in every call); None if that was no question.

    >>> decision = Decision(("a", "b", "a"), 10, 3.0, baseline_seconds=2.0, bound_seconds=2.0)
    >>> decision.recomputations, decision.overhead, decision.gap_points, decision.gap_percent
    (1, 0.5, 50.0, 50.0)
    """

    order: tuple[Event, ...]
    peak_bytes: int
    seconds: float
    baseline_seconds: float
    bound_seconds: float
    bound_engine: str = "every task runs once"
    status: Status = Status.FEASIBLE
    policy: str = ""
    solve_seconds: float = 0.0
    budget_bytes: int = 0
    choice: Mapping[Hashable, Choice] = field(default_factory=_no_choices)
    options: Mapping[Hashable, str] = field(default_factory=_no_options)
    kept: Mapping[Hashable, Choice] | None = None

    @property
    def runs(self) -> tuple[Hashable, ...]:
        """The tasks of the order, without the copies."""
        return tuple(e for e in self.order if not isinstance(e, (Store, Fetch, Free)))

    @property
    def recomputations(self) -> int:
        """Runs beyond the first run of each task."""
        runs = self.runs
        return len(runs) - len(set(runs))

    @property
    def fetches(self) -> int:
        """How often a value is brought back from slow memory."""
        return sum(isinstance(event, Fetch) for event in self.order)

    @property
    def overhead(self) -> float:
        """Seconds beyond the baseline, as a fraction of the baseline."""
        return _beyond(self.seconds, self.baseline_seconds)

    @property
    def bound_overhead(self) -> float:
        """The least possible overhead that was proved."""
        return _beyond(self.bound_seconds, self.baseline_seconds)

    @property
    def gap_points(self) -> float:
        """Overhead less its bound, in percent of the baseline."""
        return max(0.0, 100 * (self.overhead - self.bound_overhead))

    @property
    def gap_percent(self) -> float:
        """Seconds above the bound, in percent of the bound."""
        return max(0.0, 100 * (_ratio(self.seconds, self.bound_seconds) - 1))


def _beyond(seconds: float, base: float) -> float:
    """Give how much more the seconds are, as a fraction; sums in another order are no less."""
    more = _ratio(seconds, base) - 1
    return 0.0 if abs(more) < 1e-13 else more


def _ratio(seconds: float, base: float) -> float:
    """Divide; nothing over nothing is one."""
    if base > 0:
        return seconds / base
    return 1.0 if seconds <= 0 else float("inf")
