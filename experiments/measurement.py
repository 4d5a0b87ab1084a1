"""What is measured of compiled steps: bytes, seconds side by side, and whether results agree."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import optree

from ckpt import Budget, BudgetError, Executable, Plan, Step

Array = np.ndarray[Any, Any]
Tree = Any

_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """A compiled step with the arrays of one call, ready to run again and again.

    Attributes:
        executable: the compiled program.
        arrays: its inputs: the leaves of the arguments, then closed-over constants.
        results: buffers that every run writes to, so that a run allocates nothing.
    """

    executable: Executable
    arrays: tuple[Array, ...]
    results: tuple[Array, ...]

    @staticmethod
    def of(step: Step, *args: Tree) -> "Prepared":
        """Compile a step for these arguments."""
        compiled = step.compiled_for(*args)
        executable = step.executable_for(*args)
        leaves = [*optree.tree_leaves(args), *compiled.traced.constants]
        outs = executable.program.outs
        return Prepared(
            executable,
            tuple(map(np.asarray, leaves)),
            tuple(np.empty(v.type.shape, v.type.dtype.numpy) for v in outs),
        )

    def run(self) -> float:
        """Run once; the results are in `results`.

        Returns:
            Seconds that it took.
        """
        self.executable(*self.arrays, out=self.results)
        seconds = self.executable.stats.last_seconds
        assert seconds is not None
        return seconds

    def run_on_processor(self) -> float:
        """Run once, as `run` does.

        Returns:
            Seconds of processor time, which a busy machine does not lengthen.
        """
        began = time.process_time()
        self.run()
        return time.process_time() - began

    def peak_bytes(self) -> int:
        """Bytes that a step is seen to use: inputs, outputs and the touched part of the arena."""
        measured = self.executable.measure(*self.arrays).measured_peak_bytes
        assert measured is not None
        return measured


def side_by_side(
    first: Prepared,
    second: Prepared,
    repeat: int,
    run: Callable[[Prepared], float] = lambda step: step.run(),
) -> tuple[float, float]:
    """Median seconds of two steps, run in turns so that both meet the same load.

    Both run once before, unmeasured; who goes first changes from turn to turn.

    Args:
        first: a step.
        second: the other.
        repeat: how many measured turns each has.
        run: runs a step once and gives its seconds.
    """
    pair = (first, second)
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeat + 1):
        for i in (0, 1) if turn % 2 else (1, 0):
            took = run(pair[i])
            if turn:
                seconds[i].append(took)
    return median(seconds[0]), median(seconds[1])


def identical(left: Tree, right: Tree) -> bool:
    """Whether two pytrees hold the same arrays, bit for bit."""
    ours, theirs = optree.tree_leaves(left), optree.tree_leaves(right)
    return len(ours) == len(theirs) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(map(np.asarray, ours), map(np.asarray, theirs), strict=True)
    )


@dataclass(frozen=True, slots=True)
class Floor:
    """How small a budget can be.

    Attributes:
        plan: of the smallest budget for which a plan was found.
        step: its step.
        lower_bound_bytes: no budget below this can be met: proved.
    """

    plan: Plan
    step: Step
    lower_bound_bytes: int


def smallest_feasible(
    step_for: Callable[[Budget], Step],
    args: tuple[Tree, ...],
    *,
    reserve: int = 0,
    probes: int = 5,
    close: float = 1.03,
) -> Floor:
    """Search for the smallest budget that a policy can meet.

    It begins with the budget that the policy itself names when it is asked for the impossible,
    and halves the way from there to the proved bound, in ratio.

    Args:
        step_for: compiles the step for a budget.
        args: of the step, or their specs.
        reserve: bytes that every budget keeps for memory elsewhere.
        probes: how many budgets are tried below the first that is met.
        close: stop when what is met and what is not met differ by less than this factor.

    Raises:
        BudgetError: none was found.
    """

    def attempt(nbytes: int) -> tuple[Plan, Step]:
        step = step_for(Budget(bytes=nbytes, reserve=reserve))
        return step.plan_for(*args), step

    need, bound = reserve + 1, 0
    for _ in range(_ATTEMPTS):
        try:
            plan, step = attempt(need)
            break
        except BudgetError as error:
            bound = max(bound, error.lower_bound_bytes)
            if error.min_bytes is None or error.min_bytes <= need:
                raise
            need = error.min_bytes
    else:
        raise BudgetError(
            f"no budget was met in {_ATTEMPTS} attempts; the last one was {need} bytes",
            lower_bound_bytes=bound,
        )
    missed = bound
    for _ in range(probes):
        if plan.peak_bytes <= close * missed:
            break
        probe = math.isqrt(missed * plan.peak_bytes)
        try:
            plan, step = attempt(probe)
        except BudgetError as error:
            bound = max(bound, error.lower_bound_bytes)
            missed = max(probe, bound)
    return Floor(plan, step, bound)
