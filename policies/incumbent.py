"""The best plan and the best bound so far, whoever found them, and when to stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from policies.errors import InvalidDecision
from policies.evaluate import simulate
from policies.policy import Limits, Progress, Step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from policies.compact import Compact

__all__ = ["ENOUGH", "PLENTY", "Incumbent"]

ENOUGH = 1e-8
"""A gap below this fraction of the step time is none."""

PLENTY = 1e-4
"""A gap below this fraction is not worth more work unless a time to use was given."""


class Incumbent:
    """The best plan and the best bound so far, and when to stop.

    Args:
        problem: The compact problem, with its budget.
        limits: When to stop.
        progress: Is called with news.
        calls: How often everything from the first unknown task on runs.
    """

    def __init__(
        self, problem: Compact, limits: Limits, progress: Progress | None, calls: float
    ) -> None:
        """Start with no plan and the bound that every task runs once."""
        self.problem = problem
        self.limits = limits
        self.progress = progress
        self.calls = calls
        self.enough = ENOUGH
        self.began = time.perf_counter()
        self.work = 0.0
        self.base = float(problem.seconds.sum())
        self.sequence: NDArray[np.int64] | None = None
        self.seconds = float("inf")
        self.peak = 0
        self.bound = self.base
        self.engine = "every task runs once"
        self.interrupted = False
        self.impossible = ""
        self.searched = float("inf")
        self.priced = float("inf")

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    @property
    def gap(self) -> float:
        """Seconds above the bound as a fraction of the bound; infinite without a plan."""
        if self.sequence is None:
            return float("inf")
        return (self.seconds - self.bound) / self.bound if self.bound > 0 else 0.0

    def left(self) -> float:
        """Return the seconds (or, without a time limit, the work in milliseconds) left."""
        rest = (self.limits.work - self.work) / 1000.0
        if self.limits.time_seconds is not None:
            # what comes after the search, above all the referee, takes time too
            usable = 0.96 * self.limits.time_seconds - 4e-5 * self.problem.n
            rest = min(usable - self.elapsed, max(rest, 1.0))
        return rest

    def done(self) -> bool:
        """Tell whether to stop."""
        over = self.interrupted or bool(self.impossible)
        return over or self.gap <= self.enough or self.left() <= 0

    def offer(self, sequence: NDArray[np.int64], engine: str) -> bool:
        """Take a plan if the referee finds that it fits and is the best."""
        try:
            outcome = simulate(self.problem, sequence)
        except InvalidDecision as error:  # something that may not be held was held
            self.tell(f"{engine}: {error}")
            return False
        seconds = outcome.early_seconds + self.calls * outcome.late_seconds
        if outcome.peak > self.problem.budget or seconds >= self.priced:
            return False
        self.priced = seconds
        self.sequence, self.seconds, self.peak = sequence, outcome.seconds, outcome.peak
        self.tell(engine)
        return True

    def prove(self, extra_seconds: float, engine: str) -> None:
        """Take a bound on the seconds of recomputation if it is the best."""
        if self.base + extra_seconds > self.bound:
            self.bound, self.engine = self.base + extra_seconds, engine
            self.tell(engine)

    def tell(self, engine: str) -> None:
        """Report progress."""
        if self.progress is not None:
            found = self.sequence is not None
            self.progress(
                Step(
                    self.elapsed,
                    engine,
                    self.seconds if found else None,
                    self.bound,
                    self.peak if found else None,
                )
            )
