"""From a traced program and a budget to a plan; plans are kept in memory and on disk."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ckpt.choice import (
    Budget,
    Choice,
    Decision,
    Infeasible,
    Limits,
    Link,
    Problem,
    decision_from_json,
    decision_to_json,
    evaluate,
    format_bytes,
    leanest,
    solve,
)
from ckpt.codegen.cache import cache_folder, key_of
from ckpt.errors import BudgetError, CkptError
from ckpt.jax.device import Accelerator
from ckpt.jax.graph import Kernels, kernels_of
from ckpt.jax.loops import (
    Level,
    Loop,
    hull_of,
    least_extra,
    levels_of,
    loops_of,
    rewritten,
    ways_of,
)
from ckpt.jax.script import Script, script_of
from ckpt.jax.trace import joint_of, without_constants

FORMAT = 1
"""Of the plans on disk; others count as absent."""

WORK = 1000
"""How hard a plan is searched for: a second or two for a dozen layers."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a user asked of every plan of a function.

    Attributes:
        budget: on everything alive on one device.
        device: whose costs.
        policy: who decides.
        limits: how hard to search.
        offload: whether values may wait in host memory.
        pins: whether `jax.checkpoint` inside the function stays as it is.
    """

    budget: Budget
    device: Accelerator
    policy: str = "auto"
    limits: Limits = field(default_factory=lambda: Limits(work=WORK))
    offload: bool = False
    pins: bool = True

    @property
    def link(self) -> Link | None:
        """The way to host memory, if it may be used."""
        way = self.device.host_link
        if not self.offload:
            return None
        if way is None:
            raise CkptError(
                f"device {self.device.name!r} has no host_link, so offloading has no price: name "
                "another device, or add one to its file"
            )
        return Link(way.bytes_per_second, way.latency_seconds, way.duplex)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is saved, recomputed and offloaded in one step of one function at one set of shapes.

    Attributes:
        kernels: the step, forward and backward.
        problem: as the policy saw it, with its budget.
        decision: what the policy answered.
        request: what was asked for.
        from_disk: whether the decision was made by an earlier process.
        level: what becomes of the function's scans, where they were planned inside.
        whole: the step before its scans were planned inside.
        least_extra_seconds: no plan of the scans within the budget spends less again.
    """

    kernels: Kernels
    problem: Problem
    decision: Decision
    request: Request
    from_disk: bool = False
    level: Level | None = None
    whole: Kernels | None = None
    least_extra_seconds: float = 0.0

    def __repr__(self) -> str:
        """Short, because it stands in every jaxpr that holds a planned function."""
        return f"Plan({format_bytes(self.peak_bytes)})"

    def __str__(self) -> str:
        """The table of `ckpt.jax.explain`."""
        from ckpt.jax.report import table

        return table(self)

    @cached_property
    def script(self) -> Script:
        """The two straight-line programs that realise the decision."""
        return script_of(self.kernels, self.decision.order)

    @property
    def peak_bytes(self) -> int:
        """Most bytes alive at once: arguments, residuals, gradients, temporaries, results."""
        return self.decision.peak_bytes

    @property
    def argument_bytes(self) -> int:
        """Of which arguments and closed-over constants, there throughout."""
        return self.kernels.joint.argument_bytes

    @property
    def constant_bytes(self) -> int:
        """Of which the function closes over."""
        return self.kernels.joint.constant_bytes

    @property
    def residual_bytes(self) -> int:
        """What waits in device memory between the forward and the backward half."""
        return sum(self.kernels.joint.sizes[v] for v in self.script.saved)

    @property
    def hosted_bytes(self) -> int:
        """What waits in host memory."""
        return sum(self.kernels.joint.sizes[v] for v in self.script.hosted)

    @property
    def seconds(self) -> float:
        """Predicted for a step."""
        around = self.decision.seconds - self.script.left_out_seconds
        if self.level is None:
            return around
        again = around - self.decision.baseline_seconds
        return self.baseline_seconds + again + self.level.extra_seconds

    @property
    def baseline_seconds(self) -> float:
        """Predicted when everything runs once."""
        if self.whole is None:
            return self.decision.baseline_seconds
        return sum(kernel.seconds for kernel in self.whole.tasks.values())

    @property
    def bound_seconds(self) -> float:
        """No plan within the budget takes less, as far as was proved."""
        if self.level is None:
            return min(self.seconds, self.decision.bound_seconds)
        return min(self.seconds, self.baseline_seconds + self.least_extra_seconds)

    @property
    def overhead(self) -> float:
        """Seconds beyond the baseline, as a fraction of it."""
        return max(0.0, self.seconds / self.baseline_seconds - 1)

    @property
    def gap_percent(self) -> float:
        """Seconds above the bound, in percent of the bound."""
        return max(0.0, 100 * (self.seconds / self.bound_seconds - 1))

    @property
    def forward_matmul_flops(self) -> int:
        """Operations of matrix products in the forward half, each once."""
        whole = self.whole or self.kernels
        return sum(k.matmul for k in whole.tasks.values() if not k.late)

    @property
    def recomputed_matmul_flops(self) -> int:
        """Operations of matrix products that run again, in loops too."""
        steps = (*self.script.forward, *self.script.backward)
        every = sum(self.kernels.tasks[s.task].matmul for s in steps if s.kind == "run")
        return every - sum(k.matmul for k in (self.whole or self.kernels).tasks.values())

    def label(self, variable: int) -> str:
        """A value for people: who makes it, its type."""
        joint = self.kernels.joint
        aval = joint.avals[variable].str_short(short_dtypes=True)
        maker = self.script.makers.get(variable)
        return f"argument {aval}" if maker is None else f"{joint.lets[maker].name} {aval}"

    def line(self, variable: int) -> str:
        """The user's source line that makes a value."""
        maker = self.script.makers.get(variable)
        return "" if maker is None else self.kernels.joint.lets[maker].where

    def alive_at_peak(self) -> list[tuple[str, str, int]]:
        """What is alive together at the peak: label, source line and bytes, the largest first."""
        found = evaluate(self.problem, self.decision)
        live = [(v, n) for v, n in found.live if isinstance(v, int) and n]
        live.sort(key=lambda pair: (-pair[1], pair[0]))
        rows = [(self.label(v), self.line(v), n) for v, n in live]
        rows.insert(0, ("arguments", "", self.argument_bytes))
        if found.workspace_bytes:
            rows.append(("inside a loop", "", found.workspace_bytes))
        return rows


@dataclass(frozen=True, eq=False)
class _Kept:
    """Plans of one traced program, by what was asked for."""

    plans: dict[Any, Plan] = field(default_factory=dict[Any, Plan])
    kernels: dict[Any, Kernels] = field(default_factory=dict[Any, Kernels])


_KEPT: WeakKeyDictionary[Any, _Kept] = WeakKeyDictionary()


def kernels_for(
    jaxpr: Any, wanted: tuple[bool, ...], device: Accelerator, batched: tuple[int, ...] = ()
) -> Kernels:
    """The kernels of a step, traced once for each program and device."""
    kept = _KEPT.setdefault(jaxpr, _Kept())
    key = (wanted, batched, device.name, id(device))
    if key not in kept.kernels:
        kept.kernels[key] = kernels_of(joint_of(jaxpr, wanted, batched), device)
    return kept.kernels[key]


def plan_for(
    jaxpr: Any, wanted: tuple[bool, ...], request: Request, batched: tuple[int, ...] = ()
) -> Plan:
    """The plan of a step, made once for each program and request.

    Raises:
        BudgetError: no plan fits; says the smallest budget known to work, and what is alive
            together at the tightest kernel.
    """
    kept = _KEPT.setdefault(jaxpr, _Kept())
    key = (request, wanted, batched)
    if key not in kept.plans:
        kernels = kernels_for(jaxpr, wanted, request.device, batched)
        loops = loops_of(jaxpr, wanted)
        capped = request.budget.bytes is not None or request.budget.fraction is not None
        if loops and capped and not batched and not request.offload:
            kept.plans[key] = _planned_inside(jaxpr, wanted, kernels, loops, request)
        else:
            kept.plans[key] = planned(kernels, request)
    return kept.plans[key]


def _planned_inside(
    jaxpr: Any, wanted: tuple[bool, ...], kernels: Kernels, loops: list[Loop], request: Request
) -> Plan:
    """Plan a program with scans: what becomes of each, and then of what stands around them.

    A level of the scans is chosen by what it saves, traced, and planned; how far its peak is from
    what was expected corrects the next choice.

    Raises:
        BudgetError: no plan fits.
    """
    problem = kernels.problem(request.budget)
    cap = problem.limit.resolve(problem)
    peak = solve(problem.with_budget(Budget(reserve=problem.limit.reserve)), "save_all").peak_bytes
    if peak <= cap:
        return planned(kernels, request)
    absolute = replace(request, budget=Budget(bytes=cap, reserve=problem.limit.reserve))
    requests: dict[Budget, Request] = {}
    inside = {id(c := p.eqn.params["jaxpr"]): without_constants(c, pins=True) for p in loops}
    bodies = [inside[id(loop.eqn.params["jaxpr"])][0] for loop in loops]

    def of_cap(rest: Budget) -> Request:
        return requests.setdefault(rest, replace(request, budget=rest, policy="auto"))

    ways = [
        ways_of(lambda cap, body=body, loop=loop: plan_for(body, loop.wanted, of_cap(cap)))
        for body, loop in zip(bodies, loops, strict=True)
    ]
    first = kernels_for(bodies[0], loops[0].wanted, request.device)
    forward = sum(k.seconds for k in first.tasks.values() if not k.late)
    levels = levels_of(loops, [hull_of(own) for own in ways], forward)

    def of_body(closed: Any, rest: Budget) -> Callable[..., list[Any]]:
        from ckpt.jax.planned import planned_p

        body, consts = inside[id(closed)]
        own = of_cap(rest)
        return lambda *args: planned_p.bind(*consts, *args, jaxpr=body, request=own)

    best: Plan | None = None
    refusal: BudgetError | None = None
    expected = peak - levels[0].saved_bytes
    tried: set[int] = set()
    for _ in range(_TRIES):
        fits = [i for i, level in enumerate(levels) if expected + level.saved_bytes <= cap]
        place = fits[0] if fits else len(levels) - 1
        if place in tried:
            break
        tried.add(place)
        level = levels[place]
        inner = rewritten(jaxpr, loops, level, of_body)
        made = kernels_of(joint_of(inner, wanted), request.device)
        base = made.problem(absolute.budget)
        whole = solve(base.with_budget(Budget(reserve=base.limit.reserve)), "save_all").peak_bytes
        expected = whole - level.saved_bytes
        try:
            plan = planned(made, absolute)
        except BudgetError as error:
            refusal = error
            continue
        room = cap - problem.fixed_bytes - kernels.busiest_between_loops()
        plan = replace(
            plan, level=level, whole=kernels, least_extra_seconds=least_extra(loops, ways, room)
        )
        if best is None or plan.seconds < best.seconds:
            best = plan
    if best is None:
        assert refusal is not None, "there is always a first try"
        raise refusal
    return best


_TRIES = 6


def planned(kernels: Kernels, request: Request) -> Plan:
    """Ask a policy, or the disk, what to save, recompute and offload.

    A kernel that only the backward half reads, and that the answer makes there, need not run in
    the forward half at all. It is put where it runs, and the policy is asked again: what it thought
    to be paid for is free.

    Raises:
        BudgetError: no plan fits.
    """
    plan = _decided(kernels, request)
    for _ in range(_REFINEMENTS):
        order = plan.script.first_runs
        if order == tuple(plan.kernels.tasks):
            break
        moved = replace(kernels, tasks={task: kernels.tasks[task] for task in order})
        try:
            other = _decided(moved, request)
        except BudgetError:
            break
        if other.seconds >= plan.seconds:
            break
        plan = other
    return plan


_REFINEMENTS = 3


def _decided(kernels: Kernels, request: Request) -> Plan:
    """What a policy decides for one order of first runs."""
    problem = kernels.problem(request.budget, link=request.link)
    key = _key(problem, request)
    found = _read(key, problem)
    if found is not None:
        return Plan(kernels, problem, found, request, from_disk=True)
    try:
        decision = solve(problem, request.policy, limits=request.limits)
    except Infeasible as error:
        least = leanest(problem)
        if least is None or least.peak_bytes > error.budget_bytes:
            raise _refusal(kernels, error, least) from error
        decision = replace(least, budget_bytes=error.budget_bytes)
    _write(key, decision)
    return Plan(kernels, problem, decision, request)


def _refusal(kernels: Kernels, error: Infeasible, least: Decision | None) -> BudgetError:
    """Say an infeasible budget with the user's operations and source lines."""
    joint = kernels.joint
    makers = {v: let for let in joint.lets for v in let.outs if v is not None}

    def said(value: Any) -> str:
        if isinstance(value, int) and value in makers:
            let, aval = makers[value], joint.avals[value].str_short(short_dtypes=True)
            return f"{let.name} {aval}" + (f" ({let.where})" if let.where else "")
        if value == ("reserved",):
            return "arguments, cotangents and what is reserved"
        if isinstance(value, tuple) and len(value) == 2 and value[1] in kernels.tasks:  # pyright: ignore[reportUnknownArgumentType]
            let = joint.lets[value[1]]
            return f"inside {let.name}" + (f" ({let.where})" if let.where else "")
        return str(value)

    witness = tuple(sorted(((said(v), n) for v, n in error.witness if n), key=lambda w: -w[1]))
    proved = "" if error.proved else " (none was found; that is not a proof)"
    known = [n for n in (error.min_bytes, least and least.peak_bytes) if n is not None]
    lines = [
        f"no plan fits {format_bytes(error.budget_bytes)}{proved}",
        "alive together at the tightest kernel:",
        *(f"  {format_bytes(n):>12}  {what}" for what, n in witness[:8]),
        f"no budget below {format_bytes(error.lower_bound_bytes)} can be met.",
    ]
    if known:
        lines.append(
            f"Raise the budget to {format_bytes(min(known))} ({min(known)} bytes), which is known "
            "to work, or make the batch smaller (ckpt.jax.fit finds the largest that fits)."
        )
    return BudgetError(
        "\n".join(lines),
        min_bytes=min(known, default=None),
        lower_bound_bytes=error.lower_bound_bytes,
        witness=witness,
    )


def _key(problem: Problem, request: Request) -> str:
    """A name for everything that a decision depends on."""
    nodes = [
        (task, sorted((k, str(v)) for k, v in data.items()))
        for task, data in problem.graph.nodes(data=True)
    ]
    edges = [(u, v, data["reads"]) for u, v, data in problem.graph.edges(data=True)]
    whole = (problem.first_order, nodes, edges, problem.limit, problem.fixed_bytes, problem.link)
    return key_of(str(FORMAT), request.policy, repr(request.limits), repr(whole))


def _folder() -> Path:
    return cache_folder().parent / "jax_plans"


def _read(key: str, problem: Problem) -> Decision | None:
    """A decision from disk, if it is whole and keeps its promises on this problem."""
    try:
        found = decision_from_json((_folder() / f"{key}.json").read_text(encoding="utf-8"))
        priced = evaluate(problem, found)
    except (OSError, ValueError):
        return None
    fits = priced.peak_bytes <= problem.limit.resolve(problem)
    return found if fits and priced.peak_bytes == found.peak_bytes else None


def _write(key: str, decision: Decision) -> None:
    """Keep a decision; a folder that cannot be written to only costs time in the next process."""
    folder = _folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{key[:16]}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(decision_to_json(decision))
            Path(name).replace(folder / f"{key}.json")
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


def choice_of(plan: Plan, variable: int) -> Choice:
    """What becomes of a value between the halves."""
    if variable in plan.script.saved:
        return Choice.SAVE
    return Choice.OFFLOAD if variable in plan.script.hosted else Choice.RECOMPUTE
