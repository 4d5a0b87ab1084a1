"""Partial evaluation under a byte budget: run early what is known, keep what pays.

It is the pass that unzips derivatives, under its own name: the known arguments take the place of
the primals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckpt.ad.unzip import partial_eval as split
from ckpt.api.derivatives import chooser
from ckpt.api.derive import prepared
from ckpt.api.evaluate import evaluate, fresh
from ckpt.api.signature import arrays_of, positions
from ckpt.api.step import result_of
from ckpt.choice import Budget, Decision, decide_stages, format_bytes, format_seconds
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.errors import ArgumentError
from ckpt.frontends.numpy import Traced, has_tracer, take_apart, trace
from ckpt.ir.program import Halves, Program, SourceLine


@dataclass(frozen=True, slots=True)
class Residual:
    """A value that crosses from the early to the late program."""

    name: str
    nbytes: int
    source: SourceLine | None


@dataclass(frozen=True)
class Staged:
    """A function split in two: `early` runs once, `late` once per call.

    Attributes:
        early: `known -> known results ++ residuals`.
        late: `residuals ++ unknown -> other results`.
        residuals: what crosses, with the source line that made it.
        decision: the policy's, with its certified bound.
        report: in words.
    """

    halves: Halves
    decision: Decision
    traced: Traced
    known: tuple[bool, ...]

    @property
    def early(self) -> Program:
        """The program that runs once."""
        return self.halves.early

    @property
    def late(self) -> Program:
        """The program that runs per call."""
        return self.halves.late

    @property
    def residuals(self) -> tuple[Residual, ...]:
        """What crosses, in order."""
        sources = {v: eqn.source for eqn in self.early.eqns for v in eqn.outs}
        return tuple(Residual(v.name, v.type.nbytes, sources.get(v)) for v in self.halves.residuals)

    @property
    def residual_bytes(self) -> int:
        """Bytes that cross."""
        return self.halves.residual_bytes

    @property
    def report(self) -> str:
        """What is kept, what a call costs, and how far from the best that may be."""
        early, late = len(self.early.eqns), len(self.late.eqns)
        seconds, bound = self.decision.seconds, self.decision.bound_seconds
        predicted = f"predicted {format_seconds(seconds)}, at least {format_seconds(bound)}"
        lines = [
            f"{early} lets early, {late} per call; {format_bytes(self.residual_bytes)} cross",
            f"{predicted} within the budget ({self.decision.status.value})",
        ]
        lines += [
            f"  {format_bytes(r.nbytes):>12}  {r.name}" + (f"  ({r.source})" if r.source else "")
            for r in self.residuals
        ]
        return "\n".join(lines)

    def bind(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Run the early program once, on the known arguments alone.

        Returns:
            A function of the unknown arguments (positional, in the order of `f`, or by name).

        >>> import numpy as np
        >>> f = lambda a, x: np.sum(np.exp(a)) * x
        >>> late = partial_eval(f, known=("a",))(np.zeros(3), np.float64(0)).bind(np.zeros(3))
        >>> float(late(np.float64(2.0)))
        6.0
        """
        known = self._leaves(args, kwargs, wanted=True)
        known += map(np.asarray, self.traced.constants)
        results = evaluate(self.early, known)
        n_early = len(self.halves.early_outs)
        early_outs = dict(zip(self.halves.early_outs, results[:n_early], strict=True))
        residuals = list(results[n_early:])

        def late(*args: Any, **kwargs: Any) -> Any:
            unknown = self._leaves(args, kwargs, wanted=False)
            found = iter(evaluate(self.late, [*residuals, *unknown]))
            n_outs = len(self.traced.program.outs)
            leaves = [
                fresh(early_outs[i]) if i in early_outs else next(found) for i in range(n_outs)
            ]
            return result_of(self.traced, leaves)

        return late

    def _leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, wanted: bool) -> list[Any]:
        """Leaves of the known (or unknown) arguments of a call, checked against the trace."""
        traced = self.traced.arguments
        inside = [k == wanted for k in self.known]
        where = positions(traced)
        mine = [p for p, i in zip(where, inside, strict=True) if i]
        slots = list(dict.fromkeys(p for p in mine if isinstance(p, int)))
        kind = "known" if wanted else "unknown"
        if len(args) > len(slots):
            raise ArgumentError(f"{len(args)} arguments given; there are {len(slots)} {kind} ones")
        for name in kwargs:
            if name not in mine:
                said = ", ".join(p for p in dict.fromkeys(mine) if isinstance(p, str)) or "none"
                raise ArgumentError(f"{name!r} is no {kind} argument passed by name; there: {said}")
        given = dict(zip(slots, args, strict=False)) | kwargs
        was_args, was_kwargs = traced.with_values(traced.values)
        leaves: dict[int | str, list[Any]] = {}
        for p, tree in given.items():
            flat = take_apart(_identity, (tree,))
            was = was_args[p] if isinstance(p, int) else was_kwargs[p]
            like = take_apart(_identity, (was,)).treedef
            if flat.treedef != like:
                raise ArgumentError(
                    f"argument {p} is {flat.treedef}; it was traced as {like}, both in a call"
                )
            leaves[p] = (
                arrays_of(flat) if not any(map(has_tracer, flat.values)) else list(flat.values)
            )
        found: list[Any] = []
        for p, t, path, i in zip(where, traced.types, traced.paths, inside, strict=True):
            if not i:
                continue
            if not leaves.get(p):
                raise ArgumentError(f"{path} is missing")
            leaf = leaves[p].pop(0)
            if tuple(np.shape(leaf)) != t.shape:
                raise ArgumentError(f"{path} has shape {np.shape(leaf)}, not {t.shape}")
            found.append(leaf)
        return found


def partial_eval(
    f: Callable[..., Any],
    known: str | int | Sequence[str | int],
    *,
    budget: Budget | int | str | None = None,
    policy: str = "staging",
    device: Device | None = None,
) -> Callable[..., Staged]:
    """Split a function into what its known arguments determine and what must wait.

    Args:
        f: written in NumPy.
        known: names or positions of the arguments that are known early.
        budget: on the bytes that cross ("10MiB", or `Budget(rest=...)`); None keeps whatever
            makes the late program cheapest.
        policy: who chooses what to keep; "staging" is exact.
        device: whose costs to plan with.

    Returns:
        A function of all arguments (arrays or specs) that gives the `Staged` halves.

    Raises:
        ArgumentError: `known` names no argument, or the budget is not on bytes that cross.
        BudgetError: what must cross does not fit the budget.

    >>> from ckpt.frontends.numpy import Spec
    >>> def predict(train, x):
    ...     return np.dot(x, np.linalg.cholesky(train)[0])
    >>> n = Spec((4, 4), np.float64), Spec((4,), np.float64)
    >>> staged = partial_eval(predict, known=("train",), budget="1KiB")(*n)
    >>> [r.nbytes for r in staged.residuals]
    [128]
    """
    limit = Budget.of(budget)
    known = (known,) if isinstance(known, (str, int)) else tuple(known)
    if limit.fraction is not None or limit.overhead is not None:
        raise ArgumentError(
            "the budget of partial_eval is on the bytes that cross: give bytes, or Budget(rest=...)"
        )
    if limit.bytes is not None:
        limit = Budget(rest=limit.bytes, reserve=limit.reserve)

    def stage(*args: Any, **kwargs: Any) -> Staged:
        traced = trace(f, args, kwargs)
        is_known = known_leaves(traced, known)
        n_constants = len(traced.constants)
        program = prepared(traced.program)
        unknown = [not k for k in is_known] + [False] * n_constants
        costs = CostModel(device or Device.this())
        decision = decide_stages(program, unknown, costs, limit, policy=policy)
        halves = split(program, unknown, chooser(decision))
        return Staged(halves, decision, traced, tuple(is_known))

    return stage


def known_leaves(traced: Traced, known: Sequence[str | int]) -> list[bool]:
    """Tell per leaf of the arguments if it is known.

    Raises:
        ArgumentError: a name or position that is no argument.
    """
    where = positions(traced.arguments)
    names = [path.split("[")[0].split(".")[0] for path in traced.in_paths]
    for k in known:
        if k not in where and k not in names:
            said = ", ".join(dict.fromkeys(names))
            raise ArgumentError(f"known names {k!r}; the arguments are {said}")
    return [p in known or n in known for p, n in zip(where, names, strict=True)]


def _identity(x: Any) -> Any:
    return x
