"""Stage programs one after another, each with the stages where the one before broke the budget.

First come programs in integers with few stages: their plans are starts for the search, and one that
fits is optimal.  When they take long, programs in fractions find out which stages matter: they are
quick, and several stages join at a time, with the spans that the fractions break.  The choice with
the best bound is then solved in integers for as long as there is time.  The dear transit rows join
when no stage is left to add.

Source: lazy rows are cutting planes: Dantzig, Fulkerson and Johnson, "Solution of a Large-Scale
Traveling-Salesman Problem" (Operations Research, 1954); here whole stages are generated.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np

from policies.milp_solver import Here, There
from policies.stages import StageProgram, StageSolution

if TYPE_CHECKING:
    from policies.compact import Compact
    from policies.cutbound import Moments
    from policies.milp_solver import Solver

__all__ = ["AT_ONCE_SECONDS", "StageRounds"]

QUICK = 0.05
"""Programs in fractions that take a larger part of the time than this are the last."""

SLOW = 0.25
"""So long may they take while the bound still rises."""

RISING = 1.02
"""A bound that is so many times the best before still rises."""

AT_ONCE_SECONDS = 0.3
"""Programs in integers that take longer than this are not solved in this process."""

NEAR = 0.95
"""Programs in integers begin with the fewest stages that in fractions have this part of the best
bound: they are quick, and the larger ones follow while there is time."""

MOST_STAGES = 40
"""Stages of a program in fractions."""

LARGEST = {True: 150_000, False: 700}
"""Variables of a program that is worth solving, with a time limit and with a limit on work."""


class _Phase(enum.Enum):
    FEW = "few stages, in integers"
    MANY = "many stages, in fractions"
    LAST = "the best stages, in integers"


class StageRounds:
    """Stage programs that grow; one is solved at a time.

    Programs with few stages are solved in this process, at once; with a time limit the others are
    solved beside it.

    Args:
        problem: The compact problem, with its budget.
        moments: Of the problem.
        first: The first stages.
        seconds: How long all of it may take; None for a limit on work, which is deterministic.
    """

    def __init__(
        self,
        problem: Compact,
        moments: Moments,
        first: list[int],
        seconds: float | None,
    ) -> None:
        """Start with the given stages."""
        self._problem = problem
        self._moments = moments
        self._here = Here()
        self._there = There()
        self._seconds = seconds
        self._few = sorted(first)
        self._many = sorted(first)
        self._spans: list[tuple[int, int]] = []
        self._best = (0.0, self._many, self._spans)
        self._rounds: list[tuple[float, list[int], list[tuple[int, int]]]] = []
        self._stale = 0
        self._cut_short = 0
        self._transit = False
        self._phase = _Phase.FEW
        self._running: StageProgram | None = None
        self.finished = False

    @property
    def stages(self) -> list[int]:
        """The stages of the program that is solved now or next."""
        return self._many if self._phase is _Phase.MANY else self._few

    @property
    def running(self) -> bool:
        """Whether a program has begun whose answer was not taken yet."""
        return self._running is not None

    @property
    def beside(self) -> bool:
        """Whether the next program is solved in another process, while this one goes on."""
        return self._seconds is not None and self._phase is not _Phase.FEW

    @property
    def size(self) -> int:
        """Number of tasks times number of stages: what a solution costs grows with it."""
        return self._problem.n * len(self.stages)

    @property
    def engine(self) -> str:
        """What the bound of the program that is solved now or next is called."""
        kind = "relaxed stage program" if self._phase is _Phase.MANY else "stage program"
        return f"{kind} at {len(self.stages)} stages"

    def begin(self, left: float | None) -> None:
        """Begin the next program.

        Args:
            left: Seconds left, or None.
        """
        whole = self._phase is not _Phase.MANY
        program = StageProgram(
            self._problem,
            self._moments,
            self.stages,
            transit=self._transit and whole,
            spans=[span for span in self._spans if set(span) <= set(self.stages)],
            whole=whole,
        )
        if program.size > LARGEST[self._seconds is not None]:
            self.finished = True
            return
        limit, nodes = None, None
        if left is not None:
            share = 0.4 if self._phase is _Phase.LAST and not self._cut_short else 0.9
            limit = max(0.1, share * left - 0.2) if self.beside else AT_ONCE_SECONDS
        elif whole:
            nodes = 40
        self._running = program
        self._solver.begin(program.program(limit, nodes))

    @property
    def _solver(self) -> Solver:
        return self._there if self.beside else self._here

    def close(self) -> None:
        """Stop at once."""
        self._there.close()

    def answer(self, below: float) -> StageSolution | None:
        """Return the answer to the program that has begun, and choose the next; None while it runs.

        Args:
            below: Recomputation of the best plan, s.

        Raises:
            RuntimeError: The solver failed.
        """
        assert self._running is not None
        answer = self._solver.answer()
        if answer is None:
            return None
        solution = self._running.read(answer, below)
        self._running = None
        rises = solution.exact and solution.seconds > RISING * self._best[0]
        long = SLOW if rises else QUICK
        quick = self._seconds is None or solution.solve_seconds <= long * self._seconds
        match self._phase:
            case _Phase.FEW:
                self._after_few(solution)
            case _Phase.MANY:
                self._after_many(solution, quick=quick)
            case _Phase.LAST:
                self._after_last(solution)
        return solution

    def _after_few(self, solution: StageSolution) -> None:
        if self._seconds is not None:
            self._there.start()
        grown = solution.exact and self._grow(solution)
        slow = self._seconds is not None and solution.solve_seconds > AT_ONCE_SECONDS / 2
        enough = slow or (self._seconds is None and len(self._few) > 4)
        if not self.finished and (not grown or enough):
            self._phase = _Phase.MANY
            self._many = self._few

    def _after_many(self, solution: StageSolution, *, quick: bool) -> None:
        if solution.exact and solution.seconds > self._best[0] * 1.002:
            self._best = (solution.seconds, self._many, self._spans)
            self._rounds.append(self._best)
            self._stale = 0
        else:
            self._stale += 1
        fresh = self._worst(solution, self._many, max(1, len(self._many) // 2))
        self._many = sorted([*self._many, *fresh])
        self._spans = sorted({*self._spans, *solution.torn})
        small = self._seconds is not None or len(self._many) * self._problem.n <= 6000
        more = bool(fresh or solution.torn) and len(self._many) <= MOST_STAGES
        if more and quick and small and self._stale < 3:
            return
        self.finished = self._seconds is None
        self._phase = _Phase.LAST
        near = [one for one in self._rounds if one[0] >= NEAR * self._best[0]]
        self._rounds = [one for one in near if len(one[1]) > len(self._few)]
        if self._rounds:
            self._next_round()
        else:
            self._spans = self._best[2]

    def _next_round(self) -> None:
        _, self._few, self._spans = self._rounds.pop(0)
        self._transit = False

    def _after_last(self, solution: StageSolution) -> None:
        if solution.exact and self._rounds:
            self._next_round()
        elif solution.exact:
            self._grow(solution)
        else:  # the same stages again with more time, but not for ever
            self._cut_short += 1
            self.finished = self._cut_short > 1

    def _grow(self, solution: StageSolution) -> bool:
        """Add a stage, or the transit rows; tell whether there is anything to add."""
        fresh = self._worst(solution, self._few, 1)
        if fresh:
            self._few = sorted([*self._few, *fresh])
        elif bool((solution.over > 0).any()) and not self._transit:
            self._transit = True
        else:
            self.finished = True
        return not self.finished

    def _worst(self, solution: StageSolution, stages: list[int], most: int) -> list[int]:
        """Return the stages that are most over budget, apart from each other if possible."""
        over = np.flatnonzero(solution.over > 0)
        over = over[np.argsort(-solution.over[over], kind="stable")]
        for apart in (max(2, self._problem.n // 50), 1):
            found: list[int] = []
            for stage in over.tolist():
                if len(found) == most:
                    break
                if all(abs(stage - other) >= apart for other in (*stages, *found)):
                    found.append(stage)
            if found:
                return found
        return []
