"""A point that plans: one policy, one graph, one budget."""

import re
import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, PositiveInt, Tag, model_validator

from experiments.graphs import AnyGraph
from experiments.points.point import PROCESS_BYTES, Estimate, PointConfig, Result, Seconds
from experiments.schema import Bytes, expanded
from experiments.validation import Strict
from policies import Decision, Infeasible, Limits, Link, Policy, Problem, evaluate, solve
from policies.baselines import predicate
from policies.compact import compact_of
from policies.evaluate import memory_profile, save_all_peak, sequence_of
from policies.policy import Step, names
from policies.units import parse_rate

_SHOWN = 400
"""Points of a recorded curve: more than a picture can show."""

_TASK_BYTES = 20_000
"""What the planner takes per task, roughly: measured on graphs of 10,000 tasks."""


NO_PEAK = "no peak to compare with"
"""What is said when the policy that gives the budget has no plan itself."""


class Rule(Strict):
    """A policy that keeps what a rule names, blind to graph and budget, as JAX's are.

    Attributes:
        keep: a regular expression for names of tasks; "dot" keeps all products, as
            `jax.checkpoint_policies.dots_saveable` does.
    """

    keep: str

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            re.compile(self.keep)
        except re.error as error:
            raise ValueError(f"keep is not a regular expression: {error}") from None
        return self

    def policy(self) -> Policy:
        """As the planner takes it."""
        pattern = re.compile(self.keep)

        def keep(task: Hashable) -> bool:
            return pattern.search(str(task)) is not None

        return predicate(keep, f"keep {self.keep}")


def _known(name: Any) -> Any:
    if name not in names():
        raise ValueError(f"there is no policy {name!r}; there are {', '.join(names())}")
    return name


def _policy_kind(given: Any) -> str:
    return "rule" if isinstance(given, dict | Rule) else "name"


AnyPolicy = Annotated[
    Annotated[str, BeforeValidator(_known), Tag("name")] | Annotated[Rule, Tag("rule")],
    Discriminator(_policy_kind),
]
"""A policy by its name, or a rule."""


class Peak(Strict):
    """The peak that another policy reaches, to compare at equal memory.

    Attributes:
        peak_of: the policy.
        fraction: the budget that it is given, as a part of the save-all peak.
    """

    peak_of: AnyPolicy
    fraction: float | None = Field(default=None, gt=0)


class GraphBudget(Strict):
    """A cap in bytes, or as a part of the save-all peak, rounded up."""

    bytes: Bytes | None = None
    fraction: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.bytes is None) == (self.fraction is None):
            raise ValueError("give exactly one of bytes and fraction, or peak_of")
        return self


def _budget_kind(given: Any) -> str:
    relative = isinstance(given, Peak) or (isinstance(given, dict) and "peak_of" in given)
    return "peak" if relative else "cap"


AnyBudget = Annotated[
    Annotated[GraphBudget, Tag("cap")] | Annotated[Peak, Tag("peak")],
    Discriminator(_budget_kind),
    BeforeValidator(expanded),
]
"""A cap, or the peak of another policy."""


class Plan(PointConfig):
    """Plan a graph under a budget.

    Attributes:
        graph: from a file or a family.
        policy: its name, or a rule that says what to keep.
        budget: a cap, or the peak of another policy.
        solver_seconds: stop the policy after this long with the best plan so far.
        work: stop it after so much deterministic work.
        link: bandwidth to slow memory, such as 25GB/s or 25GB/s+10us; None for none.
        record: what to keep for pictures: memory over time, the solver's progress, the order.
    """

    kind: Literal["plan"] = "plan"
    graph: AnyGraph
    policy: AnyPolicy = "auto"
    budget: AnyBudget | None = None
    solver_seconds: Seconds | None = Field(default=None, gt=0)
    work: PositiveInt = 20_000
    link: str | None = None
    record: list[Literal["memory", "anytime", "schedule"]] = Field(default=[])

    @model_validator(mode="after")
    def _link(self) -> Self:
        if self.link is not None:
            parse_rate(self.link)
        return self

    def estimate(self) -> Estimate:
        """At most the solver's limit; bytes grow with the graph."""
        given = self.solver_seconds or np.inf
        tasks = len(self.graph.problem().graph)
        return Estimate(
            1.0 + min(given, self.work / 1000, self.time_limit), PROCESS_BYTES + tasks * _TASK_BYTES
        )

    def run(self) -> Result:
        """Plan, and say what the referee finds.

        Returns:
            The figures; where there is no plan, `status` says whether that was proved.
        """
        began = time.perf_counter()
        try:
            problem = self._problem()
        except Infeasible as refused:  # of the policy whose peak was to be the budget
            return {"status": NO_PEAK, "min_bytes": refused.min_bytes}
        found: Result = {
            "tasks": problem.graph.number_of_nodes(),
            "edges": problem.graph.number_of_edges(),
            "save_all_peak_bytes": save_all_peak(problem),
            "load_seconds": time.perf_counter() - began,
        }
        steps: list[Step] = []
        limits = Limits(self.solver_seconds, self.work, self.seed)
        policy = self.policy.policy() if isinstance(self.policy, Rule) else self.policy
        began = time.perf_counter()
        try:
            decision = solve(problem, policy, limits=limits, progress=steps.append)
        except Infeasible as refused:
            return found | {
                "status": "infeasible" if refused.proved else "none found",
                "budget_bytes": refused.budget_bytes,
                "lower_bound_bytes": refused.lower_bound_bytes,
                "min_bytes": refused.min_bytes,
                "solve_seconds": time.perf_counter() - began,
            }
        found |= figures(decision, problem)
        found["solve_seconds"] = time.perf_counter() - began
        for name in self.record:
            found[name] = _RECORDERS[name](problem, decision, steps)
        return found

    def _problem(self) -> Problem:
        problem = self.graph.problem()
        if self.link is not None:
            speed, latency = parse_rate(self.link)
            problem = replace(problem, link=Link(speed, latency))
        if isinstance(self.budget, Peak):
            other = self.budget.peak_of
            policy = other.policy() if isinstance(other, Rule) else other
            given = self.budget.fraction
            first = problem if given is None else problem.with_budget(f"{given}x")
            return problem.with_budget(solve(first, policy).peak_bytes)
        if self.budget is None:
            return problem
        cap = self.budget
        return problem.with_budget(f"{cap.fraction}x" if cap.bytes is None else cap.bytes)


def figures(decision: Decision, problem: Problem) -> Result:
    """What a decision costs, as the referee says."""
    priced = evaluate(problem, decision)
    peak = save_all_peak(problem)
    return {
        "status": decision.status.value,
        "decided_by": decision.policy,
        "budget_bytes": decision.budget_bytes,
        "peak_bytes": priced.peak_bytes,
        "peak_percent": 100 * priced.peak_bytes / max(peak, 1),
        "seconds": priced.seconds,
        "overhead_percent": 100 * decision.overhead,
        "bound_percent": 100 * decision.bound_overhead,
        "gap_points": decision.gap_points,
        "gap_percent": decision.gap_percent,
        "recomputations": decision.recomputations,
        "offloaded_percent": 100 * priced.offloaded_bytes / max(peak, 1),
        "stall_seconds": priced.stall_seconds,
    }


def thin(rows: list[list[float]]) -> list[list[float]]:
    """So many rows at most; of what is left out, the highest stays."""
    stretch = -(-len(rows) // _SHOWN)
    parts = (rows[i : i + stretch] for i in range(0, len(rows), stretch))
    return [max(part, key=lambda row: row[1]) for part in parts]


def _memory(problem: Problem, decision: Decision, steps: list[Step]) -> list[list[float]]:
    """Seconds and bytes alive, task by task."""
    del steps
    compact = compact_of(problem, decision.budget_bytes)
    sequence = sequence_of(compact, decision.runs)
    alive = memory_profile(compact, sequence) + problem.fixed_bytes
    times = np.cumsum(compact.seconds[sequence])
    return thin([[float(t), int(b)] for t, b in zip(times, alive, strict=True)])


def _anytime(problem: Problem, decision: Decision, steps: list[Step]) -> list[list[float | None]]:
    """Wall seconds, overhead and bound in percent, whenever one of them improved."""
    base = decision.baseline_seconds

    def percent(seconds: float | None) -> float | None:
        return None if seconds is None or not base else max(0.0, 100 * (seconds / base - 1))

    rows: list[list[float | None]] = []
    for step in steps:
        now = [percent(step.seconds), percent(step.bound_seconds)]
        if not rows or rows[-1][1:] != now:
            rows.append([step.elapsed_seconds, *now])
    del problem
    last = [100 * decision.overhead, 100 * decision.bound_overhead]
    return [*rows, [decision.solve_seconds, *last]]


def _schedule(problem: Problem, decision: Decision, steps: list[Step]) -> list[int]:
    """The place in the first order of every task that runs, in the order of the plan."""
    del steps
    place = {task: i for i, task in enumerate(problem.first_order or tuple(problem.graph))}
    return [place[task] for task in decision.runs]


_RECORDERS = {"memory": _memory, "anytime": _anytime, "schedule": _schedule}
