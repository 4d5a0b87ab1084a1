"""The problem: a dataflow graph of tasks that own values, and a budget.

A task takes seconds, needs workspace while it runs, and makes values.  A value takes bytes from
the start of the task that makes it to the end of its last read before the same task runs again
(one that is never read: while its task runs; the last instance of a ``must_live`` value: to the
end).  While a task runs, memory is all live values + the task's own outputs + its workspace +
what is reserved throughout.  Every read takes the newest instance.
"""

from __future__ import annotations

import enum
import math
import operator
import sys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import networkx as nx

from policies.budget import LARGEST_BYTES, Budget
from policies.errors import InvalidProblem

__all__ = ["Choice", "Link", "Option", "Problem", "Value"]

_NETWORKX: Any = nx  # most of its annotations are partial

TASK_KEYS = frozenset(
    {
        "seconds", "bytes", "values", "workspace_bytes", "stage", "allowed", "effects",
        "overwrites", "must_live", "root", "space", "at_hand", "together",
    }
)  # fmt: skip


class Choice(enum.Enum):
    """What becomes of a value between the task that makes it and a task that reads it later."""

    SAVE = "save"
    RECOMPUTE = "recompute"
    OFFLOAD = "offload"


@dataclass(frozen=True, slots=True)
class Value:
    """Something a task makes that takes memory.

    Attributes:
        name: unique in the problem.
        bytes: size in memory.
        root: name of the value that this one is a view of; a view owns no bytes, and reading it
            reads its root.
        space: ``"slow"`` values live outside the budgeted memory.
        must_live: the last instance stays to the end.
        at_hand: the unknown stage receives this known value anyway: to read it there costs nothing.
        together: known values of one group are kept for the unknown stage all or none, in one way.

    >>> Value("y", 8).bytes
    8
    """

    name: Hashable
    bytes: int
    root: Hashable | None = None
    space: Literal["fast", "slow"] = "fast"
    must_live: bool = False
    at_hand: bool = False
    together: Hashable | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """The way between fast and slow memory, or from where kept values rest to the unknown stage.

    Attributes:
        bytes_per_second: bandwidth of each direction.
        latency_seconds: added to every copy.
        duplex: True if both directions run at once.

    >>> Link(1e9).copy_seconds(500_000_000)
    0.5
    """

    bytes_per_second: float
    latency_seconds: float = 0.0
    duplex: bool = True

    def __post_init__(self) -> None:
        if not (self.bytes_per_second > 0 and math.isfinite(self.bytes_per_second)):
            raise InvalidProblem(f"link: bytes_per_second must be positive: {self}")
        if not (self.latency_seconds >= 0 and math.isfinite(self.latency_seconds)):
            raise InvalidProblem(f"link: latency_seconds must be zero or more: {self}")

    def copy_seconds(self, size: int) -> float:
        """Seconds that a copy of ``size`` bytes takes when nothing else is on the link."""
        return self.latency_seconds + size / self.bytes_per_second


@dataclass(frozen=True)
class Option:
    """One way to do a group of tasks: attributes that replace those of the tasks.

    Attributes:
        name: unique in its group.
        tasks: for each task, the attributes that change (seconds, bytes or values, …).

    >>> Option("blocked", {"attn": {"seconds": 2.0, "workspace_bytes": 64}}).name
    'blocked'
    """

    name: str
    tasks: Mapping[Hashable, Mapping[str, object]]


def _nothing() -> Mapping[Hashable, tuple[Option, ...]]:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Problem:
    """A dataflow graph with costs, and how much may be alive.

    The graph is copied and frozen.  Nodes are tasks, any hashable, with attributes ``seconds``,
    ``workspace_bytes`` (0), ``stage`` ("known"), ``allowed`` (save and recompute; offload too
    when there is a link), ``effects`` (False; a task with effects never runs twice),
    ``overwrites`` (values whose memory the outputs may take over if they die here: of several,
    the largest) and ``values``; or the short form ``bytes`` and marks, one value named as the task.
    An edge ``u -> v`` has ``reads``, the names of the values of ``u`` that ``v`` reads (all).

    Attributes:
        graph: the tasks and who reads whom.
        budget: a Budget, bytes, text like "64MiB" or "0.8x", or None for no cap.
        link: prices an offload; None means that there is no slow memory.
        first_order: the sequence of first executions; None leaves the order free.
        reserved_bytes: bytes alive throughout (inputs, parameters).
        calls: how often the late part runs: everything after the last first execution that
            precedes the first unknown task.
        options: for each group, the ways of doing it, of which exactly one is chosen.
        loads: None if both stages share one memory. Else they run apart, the known one first
            (``first_order`` holds within each), peaks are of the unknown one, and what is kept for
            it comes over ``link``: "once", to stay resident between calls, or in "every_call".

    Raises:
        InvalidProblem: naming the node, edge or key that is wrong.

    >>> graph = nx.DiGraph()
    >>> graph.add_node("x", seconds=1, bytes=4)
    >>> graph.add_node("y", seconds=2, bytes=4, stage="unknown")
    >>> graph.add_edge("x", "y")
    >>> problem = Problem(graph, budget="1KiB", first_order=("x", "y"))
    >>> [(value.name, value.bytes) for value in problem.values("x")]
    [('x', 4)]
    >>> graph.add_node("z", seconds=-1, bytes=4)
    >>> Problem(graph)
    Traceback (most recent call last):
    ...
    policies.errors.InvalidProblem: task 'z': seconds must be finite and zero or more: -1
    """

    graph: nx.DiGraph[Any]
    budget: Budget | int | str | None = None
    link: Link | None = None
    first_order: tuple[Hashable, ...] | None = None
    reserved_bytes: int = 0
    calls: float = 1.0
    options: Mapping[Hashable, tuple[Option, ...]] = field(default_factory=_nothing)
    loads: Literal["once", "every_call"] | None = None

    def __post_init__(self) -> None:
        graph: Any = self.graph  # a caller without annotations may pass anything
        calls: Any = self.calls
        if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
            raise InvalidProblem(f"the graph must be a networkx.DiGraph, not {graph!r}")
        set_ = object.__setattr__
        if not nx.is_frozen(self.graph):
            set_(self, "graph", _frozen(graph))
        set_(self, "budget", Budget.of(self.budget))
        set_(self, "reserved_bytes", _integer(self.reserved_bytes, "reserved_bytes"))
        if not (isinstance(calls, (int, float)) and 0 < calls <= sys.float_info.max):
            raise InvalidProblem(f"calls must be positive and finite: {self.calls}")
        link: Any = self.link
        if not (link is None or isinstance(link, Link)):
            raise InvalidProblem(f"link must be a Link(bytes_per_second, ...), not {link!r}")
        set_(self, "cache", {})
        set_(self, "_values", _check_tasks(self.graph, offload=self.link is not None))
        owner = _check_values(self._values)
        set_(self, "owner", MappingProxyType(owner))
        _check_edges(self.graph, self._values, owner)
        if self.loads not in (None, "once", "every_call"):
            raise InvalidProblem(f"loads must be None, 'once' or 'every_call': {self.loads!r}")
        if self.first_order is not None:
            set_(self, "first_order", tuple(self.first_order))
            _check_order(self.graph, self.first_order)
        elif not nx.is_directed_acyclic_graph(self.graph):
            raise _cycle(self.graph)
        if self.loads is not None:
            _check_apart(self.graph)
            if self.first_order is not None:
                set_(self, "first_order", _known_first(self.graph, self.first_order))
        _check_roots(self)
        set_(self, "options", MappingProxyType({k: tuple(v) for k, v in self.options.items()}))
        _check_options(self)

    cache: dict[object, Any] = field(init=False, repr=False)
    owner: Mapping[Hashable, Hashable] = field(init=False, repr=False)
    _values: dict[Hashable, tuple[Value, ...]] = field(init=False, repr=False)

    def values(self, task: Hashable) -> tuple[Value, ...]:
        """Give the values that a task makes."""
        return self._values[task]

    def root(self, value: Hashable) -> Value:
        """Give the value that owns the memory of ``value``: itself unless it is a view."""
        seen: set[Hashable] = set()
        while True:
            found = next(v for v in self._values[self.owner[value]] if v.name == value)
            if found.root is None:
                return found
            if value in seen:
                raise InvalidProblem(f"value {value!r}: its roots go round in a circle")
            seen.add(value)
            value = found.root

    def allowed(self, task: Hashable) -> frozenset[Choice]:
        """Give the choices that a task allows."""
        given = self.graph.nodes[task].get("allowed")
        if given is not None:
            return frozenset(given)
        both = {Choice.SAVE, Choice.RECOMPUTE}
        return frozenset(both | {Choice.OFFLOAD} if self.link is not None else both)

    @property
    def limit(self) -> Budget:
        """The budget, always as a Budget."""
        return Budget.of(self.budget)

    @property
    def fixed_bytes(self) -> int:
        """Bytes alive throughout: what is reserved by the problem and by its budget."""
        return self.reserved_bytes + self.limit.reserve

    def with_budget(self, budget: Budget | int | str | None) -> Problem:
        """Give the same problem under another budget, sharing everything that was worked out."""
        other = object.__new__(Problem)
        other.__dict__.update(self.__dict__)
        object.__setattr__(other, "budget", Budget.of(budget))
        return other

    def with_calls(self, calls: float) -> Problem:
        """Give the same problem under another number of calls."""
        other = self.with_budget(self.budget)
        object.__setattr__(other, "calls", float(calls))
        return other

    def choose(self, options: Mapping[Hashable, str]) -> Problem:
        """Give the problem with one option of each group put in place.

        Args:
            options: for each group, the name of an option; a group that is left out takes its
                first.

        Raises:
            InvalidProblem: an unknown group or option.

        >>> graph = nx.DiGraph()
        >>> graph.add_node("f", seconds=1, bytes=9)
        >>> ways = (Option("a", {}), Option("b", {"f": {"seconds": 5, "bytes": 2}}))
        >>> problem = Problem(graph, options={"g": ways})
        >>> problem.choose({"g": "b"}).graph.nodes["f"]["bytes"]
        2
        """
        for group in options:
            if group not in self.options:
                raise InvalidProblem(f"there is no option group {group!r}")
        graph: Any = nx.DiGraph(self.graph)
        for group, ways in self.options.items():
            name = options.get(group, ways[0].name)
            chosen = next((way for way in ways if way.name == name), None)
            if chosen is None:
                raise InvalidProblem(f"option group {group!r} has no option {name!r}")
            for task, attributes in chosen.tasks.items():
                if "bytes" in attributes:
                    graph.nodes[task].pop("values", None)
                if "values" in attributes:
                    graph.nodes[task].pop("bytes", None)
                graph.nodes[task].update(attributes)
        return replace(self, graph=graph, options={})


def _frozen(graph: Any) -> Any:
    return _NETWORKX.freeze(graph.copy())


def _cycle(graph: Any) -> InvalidProblem:
    """Name the tasks of a cycle."""
    loop: list[Hashable] = [edge[0] for edge in _NETWORKX.find_cycle(graph)]
    shown = " -> ".join(repr(task) for task in [*loop, loop[0]])
    return InvalidProblem(f"the graph has a cycle: {shown}")


def _integer(given: object, what: str) -> int:
    """Read a number of bytes: any integral number from 0 to 2^62."""
    if isinstance(given, bool) or given is None:
        raise InvalidProblem(f"{what} must be an integer number of bytes: {given!r}")
    if isinstance(given, float):
        if not given.is_integer():
            raise InvalidProblem(f"{what} must be an integer number of bytes: {given}")
        given = int(given)
    try:
        size = operator.index(given)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise InvalidProblem(f"{what} must be an integer number of bytes: {given!r}") from None
    if size < 0:
        raise InvalidProblem(f"{what} must be zero or more: {size}")
    if size > LARGEST_BYTES:
        raise InvalidProblem(f"{what} is too large to count in 64 bits: {size}")
    return size


def _check_tasks(graph: nx.DiGraph[Any], *, offload: bool) -> dict[Hashable, tuple[Value, ...]]:
    """Check the attributes of every task and give its values."""
    values: dict[Hashable, tuple[Value, ...]] = {}
    for task, data in graph.nodes(data=True):
        where = f"task {task!r}"
        if "seconds" not in data:
            raise InvalidProblem(f"{where}: the attribute 'seconds' is missing")
        seconds: Any = data["seconds"]
        try:
            finite = not isinstance(seconds, (bool, str)) and 0 <= float(seconds) < math.inf
        except (TypeError, ValueError, OverflowError):
            finite = False
        if not finite:
            raise InvalidProblem(f"{where}: seconds must be finite and zero or more: {seconds!r}")
        _integer(data.get("workspace_bytes", 0), f"{where}: workspace_bytes")
        stage = data.get("stage", "known")
        if stage not in ("known", "unknown"):
            raise InvalidProblem(f"{where}: stage must be 'known' or 'unknown', not {stage!r}")
        allowed: Any = data.get("allowed")
        if allowed is not None:
            if not allowed or not all(isinstance(choice, Choice) for choice in allowed):
                raise InvalidProblem(f"{where}: allowed must be a set of Choice: {allowed!r}")
            if Choice.OFFLOAD in allowed and not offload and len(allowed) == 1:
                raise InvalidProblem(f"{where}: allows nothing but offload, and there is no link")
            if data.get("effects", False) and set(allowed) == {Choice.RECOMPUTE}:
                raise InvalidProblem(f"{where}: has effects and may not be saved either")
        if "values" in data:
            if "bytes" in data:
                raise InvalidProblem(f"{where}: give 'values' or 'bytes', not both")
            made = tuple(data["values"])
            if not all(isinstance(value, Value) for value in made):
                raise InvalidProblem(f"{where}: values must be a tuple of Value: {made!r}")
        elif "bytes" in data:
            made = (
                Value(
                    task,
                    data["bytes"],
                    data.get("root"),
                    data.get("space", "fast"),
                    bool(data.get("must_live", False)),
                    bool(data.get("at_hand", False)),
                    data.get("together"),
                ),
            )
        else:
            raise InvalidProblem(f"{where}: the attribute 'bytes' (or 'values') is missing")
        values[task] = tuple(_checked_value(value, where, stage) for value in made)
    return values


def _checked_value(value: Value, where: str, stage: str) -> Value:
    size = _integer(value.bytes, f"{where}: bytes of value {value.name!r}")
    where = f"{where}: value {value.name!r}"
    if value.space not in ("fast", "slow"):
        raise InvalidProblem(f"{where}: space is 'fast' or 'slow'")
    crosses = value.at_hand or value.together is not None
    if crosses and (stage == "unknown" or value.root is not None):
        what = "made by an unknown task" if stage == "unknown" else "a view: mark its root"
        raise InvalidProblem(f"{where}: at_hand and together mark known values; it is {what}")
    if value.at_hand and value.together is not None:
        raise InvalidProblem(f"{where}: what is at hand is not kept, together with others or not")
    return replace(value, bytes=size)


def _stage(graph: nx.DiGraph[Any], task: Hashable) -> str:
    return graph.nodes[task].get("stage", "known")


def _known_first(graph: nx.DiGraph[Any], order: Iterable[Hashable]) -> tuple[Hashable, ...]:
    return tuple(sorted(order, key=lambda task: _stage(graph, task) != "known"))


def _check_apart(graph: nx.DiGraph[Any]) -> None:
    """Check that the known stage can run on its own."""
    for source, target in graph.edges():
        if _stage(graph, source) == "unknown" and _stage(graph, target) == "known":
            late = f"it comes after {source!r}, which is unknown"
            raise InvalidProblem(f"task {target!r}: stage is 'known', but {late}")


def _check_values(values: Mapping[Hashable, tuple[Value, ...]]) -> dict[Hashable, Hashable]:
    """Check that names are unique and sums fit; give the task of each value."""
    owner: dict[Hashable, Hashable] = {}
    total = 0
    for task, made in values.items():
        for value in made:
            if value.name in owner:
                both = f"{owner[value.name]!r} and {task!r}"
                raise InvalidProblem(f"two values have the name {value.name!r}: of {both}")
            owner[value.name] = task
            total += value.bytes
    if total > LARGEST_BYTES:
        raise InvalidProblem(f"the sizes sum to {total} bytes, too many to count in 64 bits")
    return owner


def _check_edges(
    graph: nx.DiGraph[Any],
    values: Mapping[Hashable, tuple[Value, ...]],
    owner: Mapping[Hashable, Hashable],
) -> None:
    """Check what edges read and tasks overwrite."""
    for source, target, data in graph.edges(data=True):
        reads = data.get("reads")
        if reads is None:
            continue
        names = {value.name for value in values[source]}
        for name in reads:
            if name not in names:
                where = f"edge {source!r} -> {target!r}"
                raise InvalidProblem(f"{where}: {source!r} makes no value {name!r} to read")
    for task, data in graph.nodes(data=True):
        for name in data.get("overwrites", ()):
            if name not in owner:
                raise InvalidProblem(f"task {task!r}: overwrites {name!r}, which is no value")
            if owner[name] == task:
                raise InvalidProblem(f"task {task!r}: overwrites {name!r}, which it makes itself")


def _check_order(graph: nx.DiGraph[Any], order: tuple[Hashable, ...]) -> None:
    """Check that the first executions are a topological order of all tasks."""
    position: dict[Hashable, int] = {}
    for index, task in enumerate(order):
        if task not in graph:
            raise InvalidProblem(f"first_order[{index}]: {task!r} is not a task of the graph")
        if task in position:
            raise InvalidProblem(f"first_order[{index}]: {task!r} stands there twice")
        position[task] = index
    missing = next((task for task in graph if task not in position), None)
    if len(order) != graph.number_of_nodes():
        raise InvalidProblem(f"first_order leaves out task {missing!r}")
    for source, target in graph.edges():
        if position[source] >= position[target]:
            if not nx.is_directed_acyclic_graph(graph):
                raise _cycle(graph)
            raise InvalidProblem(f"first_order: {target!r} stands before its input {source!r}")


def _check_roots(problem: Problem) -> None:
    """Check that every view has a root that is made no later than the view."""
    for task in problem.graph:
        for value in problem.values(task):
            if value.root is None:
                continue
            if value.root not in problem.owner:
                raise InvalidProblem(f"value {value.name!r}: its root {value.root!r} is no value")
            made = problem.owner[problem.root(value.name).name]
            near = made == task or problem.graph.has_edge(made, task)
            if not near and not nx.has_path(problem.graph, made, task):
                where = f"value {value.name!r}: a view"
                raise InvalidProblem(f"{where} of {value.root!r}, which need not exist by then")


def _check_options(problem: Problem) -> None:
    """Check the option groups: names, tasks and the attributes that they give."""
    taken: dict[Hashable, Hashable] = {}
    for group, ways in problem.options.items():
        if not ways:
            raise InvalidProblem(f"option group {group!r} is empty")
        if len({way.name for way in ways}) != len(ways):
            raise InvalidProblem(f"option group {group!r}: two options have the same name")
        for task in {task for way in ways for task in way.tasks}:
            if task not in problem.graph:
                raise InvalidProblem(f"option group {group!r}: {task!r} is not a task")
            if taken.setdefault(task, group) != group:
                both = f"{taken[task]!r} and {group!r}"
                raise InvalidProblem(f"task {task!r} stands in two option groups: {both}")
        for way in ways:
            for task, attributes in way.tasks.items():
                unknown: Iterable[str] = sorted(set(attributes) - TASK_KEYS)
                for key in unknown:
                    where = f"option {way.name!r} of group {group!r}: task {task!r}"
                    raise InvalidProblem(f"{where}: unknown attribute {key!r}")
    for group, ways in problem.options.items():
        for way in ways:
            problem.choose({group: way.name})
