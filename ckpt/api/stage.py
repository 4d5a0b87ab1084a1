"""Partial evaluation under a byte budget: run early what is known, keep what pays.

It is the pass that unzips derivatives, under its own name: the known arguments take the place of
the primals.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ckpt.api.apart import Ways, ready_to_split
from ckpt.api.derive import prepared
from ckpt.api.device import device_of
from ckpt.api.half import Early, Half, Late
from ckpt.api.part import Part, Place, argument_of
from ckpt.api.priced import measured, priced
from ckpt.api.residuals import Residual, digest_of
from ckpt.api.signature import positions
from ckpt.api.split import halves_of, labels_of, named
from ckpt.api.staged import Staged
from ckpt.api.step import Options
from ckpt.choice import (
    Budget,
    Calls,
    Choice,
    Limits,
    Link,
    Progress,
    decide_stages,
    stages_of,
)
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.errors import ArgumentError, BudgetError
from ckpt.frontends.numpy import Traced, has_tracer, trace
from ckpt.ir.program import Halves, Program
from ckpt.ir.types import Space
from ckpt.plan.plan import fingerprint

Loads = Literal["once", "every_call"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a split is asked for.

    Attributes:
        known: names or positions of the arguments that are known early.
        at_hand: those of them that the late program receives anyway.
        calls: how often it runs per run of the early one.
        budget: caps on bytes at rest, resident, and at the peak of a call.
        load: how residuals are loaded; None if that takes no time.
        loads: whether they are loaded once and stay, or in every call.
        options: policy, device, effort and fusion; their budget plays no part.
        rows: whether known and unknown rows of one array may be kept apart.
        patterns: whether what is recognised gets a kernel of its own.
        measure: whether lets are timed here; else they take what the device says.
        digest: whether residuals say of which known arguments they were made.
    """

    known: Sequence[Place]
    at_hand: Sequence[Place]
    calls: float
    budget: Budget
    load: Link | None
    loads: Loads
    options: Options
    rows: bool = True
    patterns: bool = True
    measure: bool = False
    digest: bool = False


def partial_eval(
    f: Callable[..., Any],
    known: Place | Sequence[Place],
    *,
    like: Sequence[Any] | Mapping[str, Any],
    calls: float = 1.0,
    budget: Budget | int | str | None = None,
    load: Link | None = None,
    loads: Loads = "once",
    at_hand: Place | Sequence[Place] = (),
    rows: bool = True,
    digest: bool = False,
    policy: str = "auto",
    device: Device | str | None = None,
    measure: bool = False,
    limits: Limits | None = None,
    progress: Progress | None = None,
    fusion: bool = True,
    patterns: bool = True,
) -> Staged:
    """Split a function into what its known arguments determine and what must wait.

    Both programs run as compiled kernels. Whatever is kept, the results have the same bits: a let
    is the same kernel in either program. No array ever becomes code; neither program has more lets
    than the function, but for what `rows` tells apart.

    Args:
        f: written in NumPy.
        known: names or positions of the arguments that are known early; arguments are pytrees.
        like: arguments to trace with, as a tuple or by name: arrays or `Spec`s, whose values are
            not looked at.
        calls: how often the late program runs per run of the early one; may be expected.
        budget: `Budget(rest=..., resident=..., peak=...)`: on all bytes that cross, on those that
            stay in memory between calls, on everything alive during a call. Bytes alone are `rest`.
        load: how what crosses is loaded; None if that takes no time.
        loads: "once", to stay, or in "every_call".
        at_hand: known arguments that the late program receives anyway, after the residuals.
            What the function closes over is part of it, and at hand in any case.
        rows: keep known and unknown rows of one array apart where that leaves less to do late: what
            a prompt's `concatenate` joins stays a known prefix. Sums and products of parts may
            round otherwise than the function, and what a mask hides is taken to be finite; off,
            results are those of the function bit for bit.
        digest: residuals say of which known arguments they were made, so that `Staged.check` can
            tell when they are stale; the early program then reads them once more.
        policy: who chooses what to keep; "auto" is exact without a budget and certified with one.
        device: whose costs to plan with, or its name.
        measure: time the lets on this machine first, some seconds, and plan with that: what is
            kept then depends on the machine. For programs of small or scattered work, whose
            seconds no rate tells.
        limits: how hard to search.
        progress: called while planning.
        fusion: whether elementwise work is inlined into the loops that read it.
        patterns: whether what is recognised in either stage gets a blocked kernel, as in
            `value_and_grad`; what has lets in both stages is not.

    Returns:
        `Staged(early, late, residuals, report)`.

    Raises:
        ArgumentError: `known` or `at_hand` names no argument, or the budget is relative.
        BudgetError: what must cross does not fit the budget, or no call does.
        InvalidProblem: `calls` is zero, infinite or NaN.

    Source: the words known, unknown and residual, and the pass, as in JAX's partial evaluation
    (R. Frostig, M. Johnson, C. Leary, "Compiling machine learning programs via high-level tracing",
    2018); what is kept is chosen by `policies.staging`.

    >>> import numpy as np
    >>> from ckpt.frontends.numpy import Spec
    >>> def predict(train, x):
    ...     return x @ np.linalg.cholesky(train)
    >>> n = Spec((4, 4), np.float64), Spec((4,), np.float64)
    >>> staged = partial_eval(predict, known="train", like=n, calls=1000, budget="1KiB")
    >>> [(r.op, r.nbytes) for r in staged.residuals]
    [('cholesky', 128)]
    >>> residuals = staged.early(np.eye(4))
    >>> staged.late(residuals, np.ones(4))
    array([1., 1., 1., 1.])

    More stages are splits of late programs, with a budget for each border. Here weights are known
    when a model is built, a prompt when a session begins, and the rest with each request:

    >>> def model(weights, prompt, x):
    ...     wide = np.tanh(weights @ weights)
    ...     return np.tanh(wide @ prompt) @ np.tanh(wide @ x)
    >>> w, v = Spec((4, 4), np.float64), Spec((4,), np.float64)
    >>> build = partial_eval(model, "weights", like=(w, v, v), budget=128)
    >>> session = partial_eval(
    ...     build.late, (0, 1), like=(build.like, v, v), at_hand=0, budget=32, calls=50
    ... )
    >>> [r.nbytes for r in (*build.residuals, *session.residuals)]
    [128, 32]
    >>> built = build.early(np.eye(4))
    >>> opened = session.early(built, np.ones(4))
    >>> round(float(session.late(opened, built, np.ones(4))), 3)
    1.649
    """
    limit = Budget.of(budget)
    if limit.fraction is not None or limit.overhead is not None:
        raise ArgumentError(
            "the budget of partial_eval is on bytes that cross and on calls: give bytes, or "
            "Budget(rest=..., resident=..., peak=...)"
        )
    if limit.bytes is not None:
        limit = replace(limit, bytes=None, rest=limit.bytes if limit.rest is None else limit.rest)
    if not isinstance(like, (tuple, list, Mapping)):
        raise ArgumentError(
            f"like is a {type(like).__name__}: give all arguments to trace with, as a tuple or by "
            "name"
        )
    args, kwargs = ((), like) if isinstance(like, Mapping) else (tuple(like), {})
    options = Options(Budget(), policy, device_of(device), limits, progress, fusion)
    terms = Terms(
        known=_all(known, "known"),
        at_hand=_all(at_hand, "at_hand"),
        calls=calls,
        budget=limit,
        load=load,
        loads=loads,
        options=options,
        rows=rows,
        patterns=patterns,
        measure=measure,
        digest=digest,
    )
    return staged_of(trace(f, args, kwargs), terms)


def staged_of(traced: Traced, terms: Terms) -> Staged:
    """Split a traced function; arguments and errors as of `partial_eval`."""
    where = positions(traced.arguments)
    known, near = places_of(traced, terms.known), places_of(traced, terms.at_hand, "at_hand")
    for place, path in zip(where, traced.in_paths, strict=True):
        if place in near and place not in known:
            raise ArgumentError(
                f"at_hand names {path}, which is not known: the late program receives what is "
                "unknown in any case"
            )
    given = [p for p in _places(traced) if p in near or (p in where and p not in known)]
    is_known, is_near = [p in known for p in where], [p in near for p in where]
    # patterns hold together what may be known apart
    program = prepared(traced.program, patterns=False)
    constants = range(len(is_known), len(program.ins))
    unknown = [not k for k in is_known] + [False] * len(constants)
    here = frozenset(i for i, h in enumerate(is_near) if h)
    calls = Calls(terms.calls, terms.load, terms.loads, here, frozenset(constants))
    costs = CostModel(terms.options.device)
    ways = Ways(terms.rows, terms.patterns, terms.options.fusion)
    program = named(ready_to_split(program, unknown, traced.constants, costs, ways))
    as_run = priced(program, unknown, fusion=ways.fusion)
    if terms.measure:
        costs = measured(as_run.program, unknown, costs, traced.constants)
    labels = labels_of(program, traced.in_paths)
    labels |= {copy: labels[v] for copy, v in as_run.slices.items()}
    budget, refused = terms.budget, None
    for _ in range(_TRIES):
        problem = stages_of(as_run.program, unknown, costs, budget, calls)
        try:
            decision = decide_stages(
                problem,
                labels,
                policy=terms.options.policy,
                limits=terms.options.limits,
                progress=terms.options.progress,
            )
            kept = as_run.kept(decision)
            halves = halves_of(program, unknown, is_near, kept)
            early, late = _parts(traced, program, (known, given), halves, terms)
            staged = Staged(early, late, problem, decision, labels)
            if budget.peak is not None:
                _ = staged.late.plan  # is made, or refused, here
        except BudgetError as error:
            refused = refused or error
            if budget.peak is None or error.min_bytes is None:
                raise refused from None
            over = max(error.min_bytes - (terms.budget.peak or 0), 1)
            budget = replace(budget, peak=max(budget.peak - over, 0))
            continue
        return staged
    assert refused is not None
    raise refused


_TRIES = 4
"""How often to ask for less memory per call, where a plan needs more than the policy counted."""


def places_of(traced: Traced, named: Sequence[Place], option: str = "known") -> list[Place]:
    """The arguments that are named by name or position, in the function's order.

    Raises:
        ArgumentError: a name or position that is no argument.
    """
    places, names = _places(traced), dict[Place, set[Place]]()
    for place, path in zip(positions(traced.arguments), traced.in_paths, strict=True):
        names.setdefault(argument_of(path), set()).add(place)  # `*xs` are several
    for one in named:
        if one not in places and one not in names:
            said = ", ".join(map(str, names)) or "none"
            raise ArgumentError(f"{option} names {one!r}; the arguments are {said}")
    chosen = set[Place]().union(*(names.get(one, {one}) for one in named))
    return [place for place in places if place in chosen]


def _places(traced: Traced) -> list[Place]:
    """All arguments, those without arrays included."""
    args, kwargs = traced.arguments.with_values(traced.arguments.values)
    return [*range(len(args)), *kwargs]


def _all(given: Any, option: str) -> tuple[Place, ...]:
    """One place, or several, as a tuple."""
    if isinstance(given, (str, int)):
        return (given,)
    if not isinstance(given, (tuple, list, set, frozenset)):
        raise ArgumentError(f"{option} is {given!r}: give names or positions of arguments")
    several: Any = given
    return tuple(several)


def _parts(
    traced: Traced,
    program: Program,
    places: tuple[Sequence[Place], Sequence[Place]],
    halves: Halves,
    terms: Terms,
) -> tuple[Early, Late]:
    """The two programs as functions of the arguments in these places."""
    made = {v: eqn for eqn in program.eqns for v in eqn.outs}
    sent = halves.late.ins[: len(halves.residuals)]
    residuals = tuple(
        Residual(
            v.name,
            crossed.type,
            Choice.OFFLOAD if crossed.type.space is Space.HOST else Choice.SAVE,
            made[v].op.name if v in made else "",
            made[v].source if v in made else None,
        )
        for v, crossed in zip(halves.residuals, sent, strict=True)
    )
    early, late = (
        Half(half, traced, replace(terms.options, budget=budget, policy="auto"))
        for half, budget in (
            (halves.early, Budget()),
            (halves.late, Budget(bytes=terms.budget.peak, reserve=terms.budget.reserve)),
        )
    )
    asked = set(halves.late.ins)
    values = zip(program.ins[len(traced.in_paths) :], traced.constants, strict=True)
    constants = tuple(x for v, x in values if v in asked)
    mark = _mark(halves, constants)
    taken = Part(traced.arguments, places[0], "known")
    given = Part(traced.arguments, places[1], "late")
    return (
        Early(early, taken, residuals, len(halves.early_outs), mark, terms.digest),
        Late(late, given, residuals, halves.early_outs, constants, mark),
    )


def _mark(halves: Halves, constants: Sequence[Any]) -> str:
    """What residuals are recognised by: both programs, and what the late one closes over."""
    closed_over = digest_of(x for x in constants if not has_tracer(x))
    parts = (*map(fingerprint, (halves.early, halves.late)), closed_over)
    return hashlib.sha256("".join(parts).encode()).hexdigest()
