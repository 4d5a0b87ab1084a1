"""What a policy is, and the policies by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from policies.decision import Decision
from policies.errors import InvalidProblem
from policies.problem import Problem

__all__ = ["Limits", "Policy", "Progress", "Step", "names", "policy_named", "register"]


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop.

    Attributes:
        time_seconds: wall time, or None; an early stop by time is not reproducible.
        work: deterministic units, about one thousandth of a second each on a slow machine.
        seed: of every random choice.
        keep_on_interrupt: whether Ctrl-C ends the search with the best plan so far, as the
            command line does, instead of going through to the caller.

    >>> Limits().work
    20000
    """

    time_seconds: float | None = None
    work: int = 20_000
    seed: int = 0
    keep_on_interrupt: bool = False

    def __post_init__(self) -> None:
        if self.work < 0 or (self.time_seconds is not None and not self.time_seconds >= 0):
            raise InvalidProblem(f"limits must be zero or more: {self}")


@dataclass(frozen=True, slots=True)
class Step:
    """News from a policy at work.

    Attributes:
        elapsed_seconds: since it began.
        engine: what is running.
        seconds: of the best plan so far, or None.
        bound_seconds: the best bound so far, or None.
        peak_bytes: of the best plan so far, or None.
    """

    elapsed_seconds: float
    engine: str
    seconds: float | None = None
    bound_seconds: float | None = None
    peak_bytes: int | None = None


Progress = Callable[[Step], None]


class Policy(Protocol):
    """Answers a problem whose options are chosen; it raises Infeasible if it knows no plan."""

    def __call__(
        self, problem: Problem, *, limits: Limits, progress: Progress | None = None
    ) -> Decision:
        """Decide."""
        ...


_MODULES = {
    "auto": "portfolio",
    "save_all": "baselines",
    "recompute_all": "baselines",
    "sqrt": "baselines",
    "greedy": "greedy",
    "dtr": "dtr",
    "knapsack": "knapsack",
    "checkmate": "checkmate",
    "checkmate_lp": "checkmate",
    "moccasin": "moccasin",
    "cpsat": "cpsat",
    "exhaustive": "exhaustive",
    "chain": "chain",
    "nested": "nested",
    "staging": "staging",
    "offload": "offload",
    "keep_nothing": "keep_rules",
    "keep_read": "keep_rules",
    "own_density": "keep_rules",
    "deep_density": "keep_rules",
    "smallest": "keep_rules",
    "last_used": "keep_rules",
}
_POLICIES: dict[str, Policy] = {}


def register(name: str) -> Callable[[Policy], Policy]:
    """Make a policy known by name (a decorator).

    Raises:
        ValueError: the name is taken.

    >>> @register("none_at_all")
    ... def none_at_all(problem, *, limits, progress=None):
    ...     raise NotImplementedError
    >>> policy_named("none_at_all") is none_at_all
    True
    """

    def enter(policy: Policy) -> Policy:
        if _POLICIES.get(name, policy) is not policy:
            raise ValueError(f"there is a policy {name!r} already")
        _POLICIES[name] = policy
        return policy

    return enter


def names() -> tuple[str, ...]:
    """Give the names of all policies, the best first.

    >>> names()[:3]
    ('auto', 'save_all', 'recompute_all')
    """
    return tuple(dict.fromkeys([*_MODULES, *_POLICIES]))


def is_ours(name: str) -> bool:
    """Whether a policy comes with this package, so that the code here says what it decides.

    >>> is_ours("auto"), is_ours("best")
    (True, False)
    """
    known = _POLICIES.get(name)
    return name in _MODULES and (known is None or known.__module__.startswith("policies."))


def policy_named(name: str) -> Policy:
    """Find a policy; its module is imported when it is first asked for.

    Raises:
        InvalidProblem: there is none of that name.

    >>> policy_named("best")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    policies.errors.InvalidProblem: there is no policy 'best'; there are ...
    """
    if name not in _POLICIES:
        if name not in _MODULES:
            raise InvalidProblem(f"there is no policy {name!r}; there are {', '.join(names())}")
        importlib.import_module(f"policies.{_MODULES[name]}")
    return _POLICIES[name]
