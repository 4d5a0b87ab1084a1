"""Forward mode, linear maps and pullbacks of functions written in NumPy."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optree

from ckpt.ad.forward import jvp as forward
from ckpt.ad.unzip import Choose, partial_eval, save
from ckpt.api.derive import prepared, pullback_of, tangent_halves
from ckpt.api.device import device_of
from ckpt.api.evaluate import evaluate, fresh
from ckpt.api.signature import arrays_of
from ckpt.api.step import result_of
from ckpt.choice import Budget, Choice, Decision, decide, problem_of
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.errors import ArgumentError
from ckpt.frontends.arguments import NAMESPACE
from ckpt.frontends.numpy import Traced, Tracer, has_tracer, trace
from ckpt.frontends.tracing import current
from ckpt.ir.forget import forget
from ckpt.ir.program import Program
from ckpt.ir.types import Type, type_of
from ckpt.simplify import simplify
from ckpt.simplify.dce import dce


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Value and directional derivative of a function.

    Args:
        f: written in NumPy.
        primals: the point, one pytree per positional argument.
        tangents: the direction, of the same structure; the tangent of an integer or boolean leaf
            is ignored.

    Returns:
        `f(*primals)` and its derivative along `tangents`, of the same structure; integer results
        have zero tangents.

    Raises:
        ArgumentError: a tangent has another shape than its primal.

    >>> y, dy = jvp(lambda x: np.sin(x), (np.float64(0.0),), (np.float64(2.0),))
    >>> float(y), float(dy)
    (0.0, 2.0)
    """
    traced = trace(f, tuple(primals))
    ins = _values(traced)
    program = prepared(traced.program)
    active = [v.type.has_tangent for v in program.ins]
    n_args = len(traced.in_types)
    active[n_args:] = [False] * (len(active) - n_args)  # closed-over constants do not move
    dins = _matching(traced, tuple(tangents))
    both = simplify(forget(forward(program, active)))
    moving = [d for d, a in zip(dins, active, strict=False) if a]
    results = evaluate(both, [*ins, *moving])
    n = len(program.outs)
    douts = _spread(program, results[n:], results[:n])
    return result_of(traced, results[:n]), result_of(traced, douts)


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of a function at a point, and its derivative there as a linear function.

    The non-linear work is done once; the linear function only reads the residuals.

    Returns:
        `f(*primals)`, and a function from tangents (pytrees like the primals) to the tangent of
        the result.

    >>> y, f_lin = linearize(lambda x: x * x, np.float64(3.0))
    >>> float(y), float(f_lin(np.float64(1.0))), float(f_lin(np.float64(2.0)))
    (9.0, 6.0, 12.0)
    """
    traced = trace(f, primals)
    ins = _values(traced)
    program = prepared(traced.program)
    active = [v.type.has_tangent and i < len(traced.in_types) for i, v in enumerate(program.ins)]
    halves = tangent_halves(program, active, [True] * len(program.outs))
    early, late = evaluate(halves.early, ins), forget(halves.late)
    n = len(program.outs)
    values, residuals = early[:n], early[n:]

    def f_lin(*tangents: Any) -> Any:
        dins = _matching(traced, tangents)
        moving = [d for d, a in zip(dins, active, strict=False) if a]
        douts = _spread(program, evaluate(late, [*residuals, *moving]), values)
        return result_of(traced, douts)

    return result_of(traced, values), f_lin


def vjp(
    f: Callable[..., Any],
    *primals: Any,
    budget: Budget | int | str | None = None,
    policy: str = "auto",
    device: Device | str | None = None,
) -> tuple[Any, Callable[..., Any]]:
    """The value of a function at a point, and its pullback there.

    The two halves are held apart: between them only the residuals live. With a budget, the policy
    plans both together and its choices, one per let, decide what is a residual and what the
    pullback recomputes.

    Args:
        f: written in NumPy.
        primals: the point, one pytree per positional argument.
        budget: on everything alive when both halves run as one step.
        policy: who plans.
        device: whose costs to plan with, or its name.

    Returns:
        `f(*primals)`, and a function from a cotangent (a pytree like the result) to the tuple of
        cotangents of the primals; None stands for leaves without one.

    Raises:
        BudgetError: no plan fits.

    >>> y, pullback = vjp(lambda x: np.sin(x), np.zeros(2))
    >>> pullback(np.array([1.0, 3.0]))[0]
    array([1., 3.])
    """
    traced = trace(f, primals)
    ins = _values(traced)
    wrt = [
        v.type.has_tangent and i < len(traced.in_types) for i, v in enumerate(traced.program.ins)
    ]
    outs = [v.type.has_tangent for v in traced.program.outs]
    joint = pullback_of(traced.program, wrt, outs)
    choose: Choose = save
    limit = Budget.of(budget)
    if limit != Budget():
        costs = CostModel(device_of(device))
        problem = problem_of(joint.program, costs, limit, n_known=joint.n_known)
        decision = decide(joint.program, problem, policy=policy)
        chosen = chooser(decision)

        def choose_sunk(let: int) -> Choice:
            return chosen(let) if let < joint.n_known else Choice.RECOMPUTE

        choose = choose_sunk

    unknown = [i >= len(traced.program.ins) for i in range(len(joint.program.ins))]
    halves = partial_eval(joint.program, unknown, choose)
    halves = replace(halves, early=dce(halves.early))  # what was sunk runs late only
    results = evaluate(halves.early, ins)
    n = len(halves.early_outs)
    by_position = dict(zip(halves.early_outs, results[:n], strict=True))
    residuals = results[n:]
    n_outs = len(traced.program.outs)

    def pullback(ct: Any) -> Any:
        leaves, treedef = optree.tree_flatten(ct, namespace=NAMESPACE)
        if treedef != traced.out_treedef:
            raise ArgumentError(
                f"the cotangent is {treedef}, but the result is {traced.out_treedef}"
            )
        cts = [
            _of_type(x, v.type, path)
            for x, v, path in zip(leaves, traced.program.outs, traced.out_paths, strict=True)
            if v.type.has_tangent
        ]
        late = iter(evaluate(halves.late, [*residuals, *cts]))
        backs = iter(
            # what hangs on no cotangent was made early: each call gets its own
            fresh(by_position[i]) if i in by_position else next(late)
            for i in range(n_outs, len(joint.program.outs))
        )
        by_leaf = [next(backs) if w else None for w in wrt][: len(traced.in_types)]
        args, _ = traced.arguments.with_values(tuple(by_leaf))
        return args

    values = [by_position[i] for i in range(n_outs)]
    return result_of(traced, values), pullback


def chooser(decision: Decision) -> Choose:
    """What unzip asks, answered by a decision; views never run and are remade for free."""

    def choose(let: int) -> Choice:
        return decision.choice.get(let, Choice.RECOMPUTE)

    return choose


def _values(traced: Traced) -> list[Any]:
    """What a traced program runs on: tracers of a trace around, or arrays."""
    leaves = [*traced.arguments.values, *traced.constants]
    if current() is not None and any(map(has_tracer, leaves)):
        return leaves
    return [*arrays_of(traced.arguments), *map(np.asarray, traced.constants)]


def _matching(traced: Traced, tangents: tuple[Any, ...]) -> list[Any]:
    """Leaves of tangents, one per traced argument leaf."""
    args = traced.arguments
    whole: Any = (tangents, {})
    leaves, treedef = optree.tree_flatten(whole, namespace=NAMESPACE)
    if treedef != args.treedef:
        raise ArgumentError(f"the tangents are {treedef}, but the primals are {args.treedef}")
    return [
        _of_type(leaves[i], t, path) if t.has_tangent else None
        for i, t, path in zip(args.traced, args.types, args.paths, strict=True)
    ]


def _of_type(x: Any, t: Type, path: str) -> Any:
    """A tangent or cotangent of the type of its primal; numbers take its dtype."""
    if isinstance(x, Tracer):
        found = x.type
    else:
        x = np.asarray(x, t.dtype.numpy) if np.ndim(x) == 0 else np.asarray(x)
        found = type_of(x)
    if found != t.plain():
        raise ArgumentError(f"the tangent or cotangent of {path} is {found}, not {t.plain()}")
    return x


def _spread(program: Program, douts: Sequence[Any], outs: Sequence[Any]) -> list[Any]:
    """One tangent per result: those of floats as computed, zeros for the others."""
    found = iter(douts)
    return [
        next(found) if v.type.has_tangent else np.zeros_like(out)
        for v, out in zip(program.outs, outs, strict=True)
    ]
