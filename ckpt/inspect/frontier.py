"""Peak bytes against seconds: plans for a range of budgets, with certified bounds."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from io import StringIO
from itertools import accumulate
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.api.step import Options
from ckpt.choice import Budget, format_bytes
from ckpt.errors import BudgetError
from ckpt.inspect.figure import COLOURS, Figure, new_figure, scale
from ckpt.inspect.subject import Subject

NAMED = ("save_all", "recompute_all", "sqrt", "greedy")
"""Policies that the frontier is compared with."""

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Point:
    """One plan.

    Attributes:
        policy: who decided.
        budget_bytes: what it was allowed; None for no cap.
        peak_bytes: inputs, outputs, arena and reserve.
        beyond_inputs_bytes: of which outputs and arena.
        seconds: predicted for a step.
        overhead: seconds beyond those of running every let once, as a fraction of them.
        bound_seconds: no plan within the budget takes less.
        bound_overhead: the same as a fraction beyond.
        status: "optimal" when the bound is met.
    """

    policy: str
    budget_bytes: int | None
    peak_bytes: int
    beyond_inputs_bytes: int
    seconds: float
    overhead: float
    bound_seconds: float
    bound_overhead: float
    status: str


@dataclass(frozen=True, slots=True)
class Frontier:
    """Plans of one program.

    Attributes:
        name: of the model.
        points: of every policy and budget that has a plan.
        refused: policy and budget of those that have none.
        smallest_bytes: the smallest budget known to be feasible.
        floor_bytes: no budget below this one can be met.
        save_all_bytes: the peak when everything is saved.
    """

    name: str
    points: tuple[Point, ...]
    refused: tuple[tuple[str, int], ...]
    smallest_bytes: int
    floor_bytes: int
    save_all_bytes: int


def frontier_of(
    subject: Subject,
    options: Options,
    budgets: Sequence[Budget] = (),
    *,
    policies: Sequence[str] = NAMED,
    n_points: int = 8,
    task: Callable[[str], None] | None = None,
) -> Frontier:
    """Plan a subject for many budgets.

    Args:
        subject: what to plan.
        options: the policy whose curve it is, the device, the effort.
        budgets: by default from the smallest feasible one to the save-all peak.
        policies: others, for comparison.
        n_points: how many budgets there are by default.
        task: told what is being planned.

    Raises:
        PolicyError: there is no such policy.
    """
    say = task or _silent
    say("planning: save_all")
    whole = _point(subject, replace(options, policy="save_all", budget=_reserve(options)))
    say("planning: the smallest feasible budget")
    smallest, floor = smallest_feasible(subject, options)
    wanted = list(budgets) or [
        replace(_reserve(options), bytes=size)
        for size in _spread(smallest, whole.peak_bytes, n_points)
    ]
    points = [whole] if "save_all" in policies else []
    refused: list[tuple[str, int]] = []
    for policy in (options.policy, *(p for p in policies if p not in ("save_all", options.policy))):
        for budget in wanted:
            fraction = round((budget.fraction or 0) * whole.peak_bytes)
            size = fraction if budget.bytes is None else budget.bytes
            say(f"planning: {policy} within {format_bytes(size)}")
            try:
                points.append(_point(subject, replace(options, policy=policy, budget=budget)))
            except BudgetError:
                refused.append((policy, size))
    return Frontier(
        name=subject.name,
        points=_distinct(_lifted(points), options.policy),
        refused=tuple(refused),
        smallest_bytes=smallest,
        floor_bytes=floor,
        save_all_bytes=whole.peak_bytes,
    )


def smallest_feasible(subject: Subject, options: Options) -> tuple[int, int]:
    """The smallest budget known to be feasible, and a bound below which none is.

    Asking for nothing at all makes the planner say both; a few more questions settle what the
    placement in an arena adds. They go to the policy that drops values until it fits, whatever the
    curve is of.
    """
    quick = replace(options, policy="greedy")
    asked, floor = 0, 0
    for _ in range(_TRIES):
        try:
            planned = subject.planned(
                replace(quick, budget=replace(_reserve(options), bytes=asked))
            )
        except BudgetError as error:
            floor = max(floor, error.lower_bound_bytes)
            asked = max(error.min_bytes or 0, asked + asked // 100 + 1)
        else:
            return planned.plan.peak_bytes, floor
    raise BudgetError(
        f"no budget was found to be feasible, the last one tried is {format_bytes(asked)}",
        lower_bound_bytes=floor,
    )


def to_json(frontier: Frontier) -> dict[str, Any]:
    """As plain data."""
    return asdict(frontier)


def to_table(frontier: Frontier) -> str:
    """One row per plan, by policy and peak."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("policy", no_wrap=True)
    for name in ("budget", "peak", "of save-all", "seconds", "overhead", "at least"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("status", no_wrap=True)
    for p in frontier.points:
        grid.add_row(
            p.policy,
            "none" if p.budget_bytes is None else format_bytes(p.budget_bytes),
            format_bytes(p.peak_bytes),
            f"{100 * p.peak_bytes / max(frontier.save_all_bytes, 1):.1f} %",
            f"{p.seconds:.3e}",
            f"{100 * p.overhead:.2f} %",
            f"{100 * p.bound_overhead:.2f} %",
            p.status,
        )
    out = StringIO()
    Console(file=out, width=120, color_system=None).print(grid)
    lines = [line.rstrip() for line in out.getvalue().rstrip().splitlines()]
    for policy in dict.fromkeys(policy for policy, _ in frontier.refused):
        sizes = ", ".join(format_bytes(b) for p, b in frontier.refused if p == policy)
        lines.append(f"{policy} has no plan within {sizes}")
    least, floor = format_bytes(frontier.smallest_bytes), format_bytes(frontier.floor_bytes)
    lines.append("")
    lines.append(
        f"save-all peak {format_bytes(frontier.save_all_bytes)}, smallest feasible budget known "
        f"{least}, none below {floor}"
    )
    return "\n".join(lines)


def draw(frontier: Frontier, policy: str) -> Figure:
    """The curve of a policy with what is certified below it, other policies as marks.

    Both curves are steps: a plan fits every budget from its peak on, and a bound holds for every
    budget up to the one that it was proved for.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    figure, axes = new_figure()
    factor, unit = scale(frontier.save_all_bytes)
    right = 1.05 * frontier.save_all_bytes / factor
    curve = sorted((p for p in frontier.points if p.policy == policy), key=lambda p: p.peak_bytes)
    if curve:
        best = list(accumulate((100 * p.overhead for p in curve), min))
        peaks = [p.peak_bytes / factor for p in curve]
        bounds = sorted(
            ((p.budget_bytes or p.peak_bytes) / factor, 100 * p.bound_overhead) for p in curve
        )
        axes.step([*peaks, right], [*best, best[-1]], where="post", color=COLOURS[0], label=policy)
        axes.plot(peaks, best, "o", color=COLOURS[0], markersize=4)
        axes.step(
            [b for b, _ in bounds], [o for _, o in bounds],
            where="pre", linestyle=":", color=COLOURS[0], label="certified: no plan is below",
        )  # fmt: skip
    others = dict.fromkeys(p.policy for p in frontier.points if p.policy != policy)
    for name, marker, colour in zip(others, "s^Dv<>Pp*hX", COLOURS[1:] * 2, strict=False):
        mine = [p for p in frontier.points if p.policy == name]
        axes.plot(
            [p.peak_bytes / factor for p in mine], [100 * p.overhead for p in mine],
            marker, color=colour, label=name, markersize=5, alpha=0.8,
        )  # fmt: skip
    axes.axvspan(0, frontier.floor_bytes / factor, color="#E0E0E0", label="impossible", zorder=0)
    axes.set_xlim(0, right)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_xlabel(f"budget, or peak of a plan, {unit}")
    axes.set_ylabel("predicted time beyond saving everything, %")
    axes.set_title(f"{frontier.name}: time against memory", loc="left", fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _point(subject: Subject, options: Options) -> Point:
    plan = subject.planned(options).plan
    base, bound = plan.save_all_seconds, plan.decision.bound_seconds
    return Point(
        policy=options.policy,
        budget_bytes=plan.budget_bytes,
        peak_bytes=plan.peak_bytes,
        beyond_inputs_bytes=plan.beyond_inputs_bytes,
        seconds=plan.seconds,
        overhead=plan.overhead,
        bound_seconds=bound,
        bound_overhead=max(bound / base - 1, 0.0) if base else 0.0,
        status=plan.decision.status,
    )


def _lifted(points: Sequence[Point]) -> list[Point]:
    """The same points, each with the best bound: one for a budget holds for all smaller ones."""
    lifted: list[Point] = []
    for p in points:
        holds = [q for q in points if p.budget_bytes is not None and _cap(q) >= p.budget_bytes] or [
            p
        ]
        best = max(holds, key=lambda q: q.bound_seconds)
        lifted.append(
            replace(p, bound_seconds=best.bound_seconds, bound_overhead=best.bound_overhead)
        )
    return lifted


def _cap(point: Point) -> float:
    return float("inf") if point.budget_bytes is None else point.budget_bytes


def _distinct(points: Sequence[Point], policy: str) -> tuple[Point, ...]:
    """Without the plans that others than this policy gave again when they were offered more."""
    first: dict[tuple[str, int, float, int | None], Point] = {}
    for p in points:
        own = p.budget_bytes if p.policy == policy else None
        first.setdefault((p.policy, p.peak_bytes, p.seconds, own), p)
    return tuple(first.values())


def _silent(what: str) -> None:
    del what


def _reserve(options: Options) -> Budget:
    """No cap, but what the user keeps for memory elsewhere."""
    return Budget(reserve=options.budget.reserve)


def _spread(low: int, high: int, n: int) -> list[int]:
    """Budgets from low to high, evenly spread."""
    if n < 2 or high <= low:
        return [max(low, high)]
    return [low + (high - low) * i // (n - 1) for i in range(n)]
