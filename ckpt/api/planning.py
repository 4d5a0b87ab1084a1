"""From a program to a plan: how to plan, what a policy is asked, and what follows from it."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from math import inf

from ckpt.api.derive import Joint, fused
from ckpt.api.loop_budget import Planner, loops_of, plan_loops
from ckpt.api.nested import with_loops
from ckpt.choice import (
    Budget,
    Decision,
    Infeasible,
    Limits,
    Problem,
    Progress,
    Status,
    choices_of,
    decide,
    format_bytes,
    glance,
    leanest,
    pebbling_floor,
    problem_of,
    running_order,
    solve,
)
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.errors import BudgetError
from ckpt.frontends.numpy import Traced
from ckpt.ir.ordered import ordered
from ckpt.ir.program import Program
from ckpt.plan.nested import placed
from ckpt.plan.place import place
from ckpt.plan.plan import Decided, Plan


@dataclass(frozen=True, slots=True)
class Options:
    """How to plan: what every entry point of the API takes.

    Attributes:
        budget: on everything alive during a step.
        policy: who plans.
        device: whose costs to plan with.
        limits: how hard to search; None for the default.
        progress: called while planning.
        fusion: whether elementwise lets are inlined into the loops that read them; the results
            have the same bits without it.
    """

    budget: Budget
    policy: str
    device: Device
    limits: Limits | None
    progress: Progress | None
    fusion: bool = True


@dataclass(slots=True)
class Compiled:
    """Everything made for one signature; the executable only when it first runs."""

    traced: Traced
    joint: Joint
    decision: Decision
    plan: Plan
    executable: Executable | None = None


def ready_to_plan(joint: Joint, options: Options) -> Joint:
    """The program that is planned: fused, unless that is turned off."""
    whole = fused(joint) if options.fusion else joint
    return with_loops(whole, fusion=options.fusion)


def plan_joint(traced: Traced, joint: Joint, options: Options) -> Compiled:
    """Decide and place: from a program to a plan, its loops with as many slots as pay.

    Raises:
        BudgetError: no plan fits, or none whose arena does.
    """
    costs = CostModel(options.device)
    if not loops_of(joint.program):
        return _plan(traced, joint, options, costs)

    @cache
    def few(body: Program) -> list[Program]:
        return _variants(traced, body, options, costs)

    @cache
    def more(body: Program) -> list[Program]:
        return [*few(body), *_leanest_variants(traced, body, options, costs)]

    planner = Planner(
        lambda chosen, budget: _plan(traced, chosen, replace(options, budget=budget), costs),
        lambda joint, worth, *, budget: _glance(joint, worth, budget, options, costs),
        lambda body, *, least: more(body) if least else few(body),
    )
    return plan_loops(joint, options.budget, costs, planner)


def _glance(
    joint: Joint, worth: float, budget: Budget, options: Options, costs: CostModel
) -> tuple[float, float]:
    """Bounds of the seconds of what runs again within a budget, found without a search."""
    problem = problem_of(joint.program, costs, budget, n_known=joint.n_known)
    if options.policy == "auto":
        return glance(problem, worth)
    try:
        decision = solve(problem, options.policy, limits=options.limits)
    except Infeasible:
        return inf, inf
    again = decision.seconds - decision.baseline_seconds
    return again, again


def _variants(traced: Traced, body: Program, options: Options, costs: CostModel) -> list[Program]:
    """A body, and the same with ever less memory for its own values."""
    if loops_of(body):
        base, arena = _ends(body), placed(body).arena_bytes
        caps = [base + int(share * arena) for share in _SHARES_OF_LOOPS]
        made = [_planned_within(traced, body, options, cap) for cap in caps]
        return [body, *(p for p in made if isinstance(p, Program))]
    problem = problem_of(body, costs)
    base, arena = problem.reserved_bytes, placed(body).arena_bytes
    floor = min(pebbling_floor(problem).bytes - base, arena)
    orders: list[Decision] = []
    for share in _SHARES:
        capped = problem.with_budget(base + floor + int(share * (arena - floor)))
        with suppress(Infeasible):
            orders.append(solve(capped, options.policy, limits=_quick(options)))
    return [body, *(ordered(body, running_order(decision)) for decision in orders)]


def _leanest_variants(
    traced: Traced, body: Program, options: Options, costs: CostModel
) -> list[Program]:
    """The body with the least memory for its own values that is known."""
    if not loops_of(body):
        problem = problem_of(body, costs)
        low, high = pebbling_floor(problem).bytes, problem.reserved_bytes + placed(body).arena_bytes
        capped = problem.with_budget(low + int(_NEARLY * max(high - low, 0)))
        try:
            found = solve(capped, options.policy, limits=Limits(work=_LEAN_WORK))
        except Infeasible:
            found = leanest(problem, options.progress)
        return [] if found is None else [ordered(body, running_order(found))]
    made = _planned_within(traced, body, options, _ends(body))
    if isinstance(made, BudgetError) and made.min_bytes is not None:
        made = _planned_within(traced, body, options, made.min_bytes)
    return [made] if isinstance(made, Program) else []


def _ends(body: Program) -> int:
    return sum(v.type.nbytes for v in (*body.ins, *body.outs))


def _planned_within(
    traced: Traced, body: Program, options: Options, nbytes: int
) -> Program | BudgetError:
    """A body with loops, in the order of a plan for so many bytes; or why there is none."""
    told = replace(options, budget=Budget(bytes=nbytes), limits=_quick(options))
    try:
        made = plan_joint(traced, Joint(body, len(body.eqns)), told)
    except BudgetError as error:
        return error
    return ordered(made.joint.program, [step.let for step in made.plan.steps])


def _quick(options: Options) -> Limits | None:
    """For plans made without a search, by the policy that has one."""
    return Limits(work=0) if options.policy == "auto" else options.limits


def _plan(traced: Traced, joint: Joint, options: Options, costs: CostModel) -> Compiled:
    """Decide and place a program whose loops have their slots.

    The policy counts what is alive; the arena adds what fragmentation costs. When that breaks the
    budget, the policy is asked again with so much less, a few times.

    Raises:
        BudgetError: no plan fits, or none whose arena does.
    """
    budget, placed_over = options.budget, None
    uncapped = budget == Budget(reserve=budget.reserve)
    bound = None  # of the budget that was asked for: what less memory costs proves nothing about it
    problem = problem_of(joint.program, costs, budget, n_known=joint.n_known)
    for _ in range(_FRAGMENTATION_TRIES):
        try:
            decision = decide(
                joint.program,
                problem.with_budget(budget),
                policy=options.policy,
                limits=options.limits,
                progress=options.progress,
            )
        except BudgetError as error:
            if placed_over is None:
                return _leanest(traced, joint, options, costs, problem, error)
            break
        cap = placed_over.budget_bytes if placed_over else decision.budget_bytes
        cap = None if uncapped else cap
        bound = decision.bound_seconds if bound is None else bound
        try:
            plan = place(
                joint.program,
                running_order(decision),
                costs=costs,
                decision=Decided(
                    policy=decision.policy,
                    status=_status(decision, bound),
                    bound_seconds=bound,
                    peak_bytes=decision.peak_bytes,
                ),
                choices=choices_of(joint.program, decision, joint.n_known),
                budget_bytes=cap,
                reserve_bytes=options.budget.reserve,
            )
        except BudgetError as error:
            if error.min_bytes is None or cap is None:
                raise
            if placed_over is None or error.min_bytes < (placed_over.error.min_bytes or 0):
                placed_over = _Over(cap, error)
            # Less than this order needs, so that the next one differs.
            over = error.min_bytes - cap
            budget = Budget(bytes=max(decision.peak_bytes - over, 0), reserve=budget.reserve)
            continue
        return Compiled(traced, joint, decision, plan)
    assert placed_over is not None
    least = placed_over.error.min_bytes or 0
    told = BudgetError(
        f"no plan fits {format_bytes(placed_over.budget_bytes)} once its values have their places: "
        f"{placed_over.error}\n"
        f"Raise the budget to {format_bytes(least)} ({least} bytes), which is known to work.",
        min_bytes=least,
        lower_bound_bytes=placed_over.error.lower_bound_bytes,
        witness=placed_over.error.witness,
    )
    return _leanest(traced, joint, options, costs, problem, told)


def _leanest(  # noqa: PLR0917
    traced: Traced,
    joint: Joint,
    options: Options,
    costs: CostModel,
    problem: Problem,
    error: BudgetError,
) -> Compiled:
    """The plan of least memory that is known, if it fits; it is the same for every budget.

    Raises:
        BudgetError: it does not; names what it takes, fragmentation included.
    """
    decision = leanest(problem, options.progress) if options.policy == "auto" else None
    if decision is None:
        raise error
    cap = options.budget.resolve(problem)
    plan = place(
        joint.program,
        running_order(decision),
        costs=costs,
        decision=Decided("auto", Status.FEASIBLE.value, peak_bytes=decision.peak_bytes),
        choices=choices_of(joint.program, decision, joint.n_known),
        reserve_bytes=options.budget.reserve,
    )
    if plan.peak_bytes <= cap:
        return Compiled(traced, joint, decision, replace(plan, budget_bytes=cap))
    raise BudgetError(
        f"{str(error).split('Raise the budget')[0].rstrip()}\n"
        f"Raise the budget to {format_bytes(plan.peak_bytes)} ({plan.peak_bytes} bytes), "
        "which is known to work, or make the batch smaller.",
        min_bytes=plan.peak_bytes,
        lower_bound_bytes=error.lower_bound_bytes,
        witness=error.witness,
    ) from error


def _status(decision: Decision, bound_seconds: float) -> str:
    """The status of a decision, unless it is optimal only for less than was asked for."""
    proved = decision.status is not Status.OPTIMAL or decision.bound_seconds <= bound_seconds
    return (decision.status if proved else Status.FEASIBLE).value


@dataclass(frozen=True, slots=True)
class _Over:
    """An order that fits by its live bytes, and does not as placed."""

    budget_bytes: int
    error: BudgetError


_FRAGMENTATION_TRIES = 4
_SHARES = (0.8, 0.6, 0.4, 0.2)
"""Of the memory of a body's own values beyond their least: with what less its variants make do."""

_NEARLY, _LEAN_WORK = 0.03, 500
"""The share with which a leanest body is first looked for, and how hard."""

_SHARES_OF_LOOPS = (0.8, 0.6, 0.4, 0.25, 0.15, 0.08)
"""Of the memory of a body with loops, of which nobody knows the least."""
