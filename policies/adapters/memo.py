"""Python functions that were recorded once: which results to cache on a small disk.

Functions of a script are marked, the script runs once, and every call of a marked function becomes
a task: its seconds, the bytes of its result, and whose results it was given.  Then some functions
vary, and the question is which results of the others are worth their bytes.

Results are followed by identity: a function returns new objects and leaves its arguments as they
are.  What is called inside a marked function belongs to it.  ``None``, booleans, small integers and
short texts are shared by Python and are not followed.
"""

from __future__ import annotations

import functools
import json
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack

import networkx as nx

from policies.budget import Budget
from policies.decision import Decision
from policies.errors import InvalidProblem
from policies.policy import Limits
from policies.problem import Link, Problem, Value
from policies.solve import solve
from policies.worth import Worth, worth

__all__ = ["CachePlan", "Memo"]


class Terms(TypedDict, total=False):
    """How results are cached, as ``Memo.problem`` explains."""

    disk: int | str | None
    calls: float
    link: Link | None
    by_function: bool


P = ParamSpec("P")
R = TypeVar("R")

_SHARED = (type(None), bool, int, str, bytes, type(Ellipsis))


@dataclass(frozen=True, slots=True)
class _Call:
    """One recorded call."""

    name: str
    function: str
    seconds: float
    bytes: int
    reads: tuple[str, ...]
    effects: bool


@dataclass(frozen=True)
class CachePlan:
    """Which results to cache.

    Attributes:
        problem: what was planned.
        decision: the plan, with its certified bound.
        told: what each result is worth.
    """

    problem: Problem
    decision: Decision
    told: Worth

    @property
    def keep(self) -> tuple[str, ...]:
        """The calls whose results to cache, as ``"function#0"``, in the order they were made."""
        kept = self.decision.kept or {}
        return tuple(str(value) for value in self.problem.owner if value in kept)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions some of whose results are cached."""
        return tuple(dict.fromkeys(name.rpartition("#")[0] for name in self.keep))

    def to_json(self) -> str:
        """Write ``keep`` and ``temporary``, for lists such as Snakemake's ``temp()`` outputs."""
        nodes: Any = self.problem.graph.nodes
        known = [task for task in nodes if nodes[task]["stage"] == "known"]
        keep = self.keep
        temporary = [str(task) for task in known if task not in keep]
        return json.dumps({"keep": list(keep), "temporary": temporary})


class Memo:
    """Records marked functions, and plans what to cache.

    Args:
        clock: gives seconds.

    >>> ticks = iter([0.0, 9.0, 10.0, 10.5])
    >>> memo = Memo(clock=lambda: next(ticks))
    >>> @memo.task
    ... def clean(n):
    ...     return list(range(n))
    >>> @memo.task
    ... def plot(rows, color):
    ...     return [color, len(rows)]
    >>> _ = plot(clean(100), "red")
    >>> memo.plan(varies=["plot"], disk="1kB", calls=20).keep
    ('clean#0',)
    >>> memo.plan(varies=["plot"], disk="10B", calls=20).keep
    ()
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with nothing recorded."""
        self._clock = clock
        self._calls: list[_Call] = []
        self._made: dict[int, str] = {}
        self._alive: list[object] = []  # so that no identity is given out twice
        self._counts: dict[str, int] = {}
        self._inside = False

    def task(self, function: Callable[P, R]) -> Callable[P, R]:
        """Mark a function whose calls are recorded (a decorator)."""
        return self._marked(function, effects=False)

    def source(self, function: Callable[P, R]) -> Callable[P, R]:
        """Mark a function that must not run again: a download, a measurement (a decorator)."""
        return self._marked(function, effects=True)

    def _marked(self, function: Callable[P, R], *, effects: bool) -> Callable[P, R]:
        @functools.wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            if self._inside:
                return function(*args, **kwargs)
            reads = tuple(dict.fromkeys(self._found((args, kwargs))))
            self._inside = True
            began = self._clock()
            try:
                result = function(*args, **kwargs)
            finally:
                self._inside = False
            self._enter(function.__name__, self._clock() - began, result, reads, effects)
            return result

        return recorded

    def _enter(
        self, function: str, seconds: float, result: object, reads: tuple[str, ...], effects: bool
    ) -> None:
        number = self._counts.get(function, 0)
        self._counts[function] = number + 1
        name = f"{function}#{number}"
        self._calls.append(_Call(name, function, seconds, _bytes(result), reads, effects))
        self._alive.append(result)
        for part in _parts(result):
            self._made.setdefault(id(part), name)

    def _found(self, given: object) -> Iterable[str]:
        """The calls whose results are among arguments, also inside lists, tuples and mappings."""
        for part in _parts(given):
            if id(part) in self._made:
                yield self._made[id(part)]

    def problem(
        self,
        varies: Iterable[str],
        *,
        disk: int | str | None = None,
        calls: float = 10.0,
        link: Link | None = None,
        by_function: bool = False,
    ) -> Problem:
        """Give what was recorded as a problem in two stages.

        Args:
            varies: names of functions, or of single calls (``"plot#0"``), that will run anew; what
                reads their results does too.
            disk: cap on the bytes of all cached results.
            calls: how often the varied part will run.
            link: how cached results are loaded in every run; None if that takes no time.
            by_function: cache all results of a function or none, as ``joblib.Memory`` does.

        Raises:
            InvalidProblem: nothing was recorded under one of these names.
        """
        varied = list(varies)
        known = {call.name for call in self._calls} | {call.function for call in self._calls}
        for name in varied:
            if name not in known:
                there = ", ".join(dict.fromkeys(call.function for call in self._calls)) or "nothing"
                raise InvalidProblem(f"no call of {name!r} was recorded; recorded were: {there}")
        graph: Any = nx.DiGraph()
        unknown: set[str] = set()
        for call in self._calls:
            again = call.name in varied or call.function in varied
            if again or unknown.intersection(call.reads):
                unknown.add(call.name)
        for call in self._calls:
            late = call.name in unknown
            group = call.function if by_function and not late else None
            graph.add_node(
                call.name,
                seconds=call.seconds,
                values=(Value(call.name, call.bytes, together=group),),
                stage="unknown" if late else "known",
                effects=call.effects,
            )
            graph.add_edges_from((read, call.name) for read in call.reads)
        limit = None if disk is None else Budget(rest=disk)  # pyright: ignore[reportArgumentType]
        return Problem(graph, budget=limit, link=link, calls=calls, loads="every_call")

    def plan(
        self, varies: Iterable[str], *, limits: Limits | None = None, **terms: Unpack[Terms]
    ) -> CachePlan:
        """Decide which results to cache.

        Args:
            varies: as of ``problem``.
            limits: how hard to search.
            terms: the other arguments of ``problem``.

        Raises:
            InvalidProblem: nothing was recorded under one of these names.
            Infeasible: results that must not be made again do not fit the disk.
        """
        problem = self.problem(varies, **terms)
        decision = solve(problem, "staging", limits=limits)
        return CachePlan(problem, decision, worth(problem, decision))


def _parts(given: object) -> Iterable[object]:
    """The objects that can be followed: a thing itself and what is in containers."""
    stack: list[object] = [given]
    seen: set[int] = set()
    while stack:
        top = stack.pop()
        if isinstance(top, _SHARED) or id(top) in seen:
            continue
        seen.add(id(top))
        yield top
        if isinstance(top, Mapping):
            stack.extend(top.values())
        elif isinstance(top, (list, tuple, set, frozenset)):
            stack.extend(top)


def _bytes(result: object) -> int:
    """Bytes of a result on disk: of its arrays, or of its pickle."""
    size = getattr(result, "nbytes", None)
    if isinstance(size, int):
        return size
    try:
        return len(pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL))
    except Exception:  # noqa: BLE001 (whatever a class raises that cannot be pickled)
        return sys.getsizeof(result)
