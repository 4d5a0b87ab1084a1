"""From kernels and a request to a plan: a policy decides, or the disk remembers."""

from dataclasses import replace
from typing import Any

from ckpt.choice import Decision, Infeasible, leanest, refusal, solve
from ckpt.errors import BudgetError
from ckpt.jax import kept
from ckpt.jax.graph import Kernels
from ckpt.jax.plans import Plan, Request

REFINEMENTS = 3
"""How often a policy is asked again with kernels put where it runs them."""


def planned(kernels: Kernels, request: Request) -> Plan:
    """Ask a policy, or the disk, what to save, recompute and offload.

    A kernel that only the backward half reads, and that the answer makes there, need not run in
    the forward half at all. It is put where it runs, and the policy is asked again: what it thought
    to be paid for is free.

    Raises:
        BudgetError: no plan fits.
    """
    plan = _decided(kernels, request)
    for _ in range(REFINEMENTS):
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


def _decided(kernels: Kernels, request: Request) -> Plan:
    """What a policy decides for one order of first runs."""
    problem = kernels.problem(
        request.budget, link=request.link, correction_bytes=request.correction_bytes
    )
    key = kept.name_of(problem, request)
    found = kept.read(key, problem)
    if found is not None:
        return Plan(kernels, problem, found, request, from_disk=True)
    try:
        decision = solve(problem, request.policy, limits=request.limits)
    except Infeasible as error:
        least = leanest(problem)
        if least is None or least.peak_bytes > error.budget_bytes:
            raise _refusal(kernels, error, least) from error
        decision = replace(least, budget_bytes=error.budget_bytes)
    kept.write(key, decision)
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

    witness = sorted(((said(v), n) for v, n in error.witness if n), key=lambda w: -w[1])
    hint = " (ckpt.jax.fit finds the largest that fits)"
    return refusal(error, least, witness, "kernel", hint)
