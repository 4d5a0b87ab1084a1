"""Task graphs of Dask: which chunks to persist, one by one, in a limited memory.

Dask persists a collection whole or not at all.  Here a query is measured once, task by task; what
the query alone needs is unknown, the rest is known; and the plan says which chunks of the known
part to hold in memory between queries, and which to compute anew in each.

Graphs are taken as they are written, before Dask fuses tasks, so queries on the result must be run
with ``optimize_graph=False`` for the same tasks to run.

Dask is an optional extra (``dask``), needed by this module alone.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from policies.budget import Budget
from policies.decision import Decision
from policies.errors import InvalidDecision, InvalidProblem
from policies.problem import Problem, Value

try:
    from dask.base import compute as dask_compute
    from dask.base import get_scheduler
    from dask.callbacks import Callback
    from dask.core import get_dependencies, istask
    from dask.sizeof import sizeof
except ImportError:
    raise ImportError("this adapter needs Dask: pip install 'ckpt-compiler[dask]'") from None

__all__ = ["Profile", "apply", "measure", "problem", "typical"]


@dataclass(frozen=True)
class Profile:
    """What tasks cost when they ran.

    Attributes:
        seconds: of each key.
        bytes: of the result of each key.
    """

    seconds: Mapping[Hashable, float]
    bytes: Mapping[Hashable, int]

    def updated(self, later: Profile) -> Profile:
        """Give this profile with what a later one says in place of the same tasks.

        >>> Profile({"a": 1.0}, {"a": 8}).updated(Profile({"a": 2.0}, {"a": 8})).seconds
        {'a': 2.0}
        """
        return Profile({**self.seconds, **later.seconds}, {**self.bytes, **later.bytes})


class _Recorder(Callback):
    """Times every task of the synchronous scheduler and sizes its result, run by run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.runs: dict[Hashable, list[float]] = defaultdict(list)
        self.sizes: dict[Hashable, int] = {}
        self.busy = 0.0
        self._began = 0.0

    def _pretask(self, key: Hashable, dsk: object, state: object) -> None:
        del key, dsk, state
        self._began = self._clock()

    def _posttask(
        self, key: Hashable, result: object, dsk: object, state: object, worker_id: object
    ) -> None:
        del dsk, state, worker_id
        seconds = self._clock() - self._began
        self.runs[key].append(seconds)
        self.busy += seconds
        self.sizes[key] = int(sizeof(result))


def measure(
    *collections: Any,
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> Profile:
    """Compute collections on one thread, and note what every task costs.

    What Dask itself takes is shared equally among the tasks of a run.  A task that runs again in a
    query finds memory and caches in another state than when everything ran at once; to know that,
    measure a query on collections persisted in part too, and update the first profile with that.

    Args:
        collections: Dask collections, such as an example query.
        repeats: how often; the median seconds of each task count.
        clock: gives seconds; ``time.process_time`` where others use the machine too.

    Returns:
        Seconds and bytes by key.

    >>> from dask import delayed
    >>> value = delayed(sum)([1, 2], dask_key_name="total")
    >>> sorted(measure(value).bytes)
    ['total']
    """
    recorder = _Recorder(clock)
    idle: list[float] = []
    for _ in range(repeats):
        recorder.busy, began = 0.0, clock()
        with recorder:
            dask_compute(*collections, scheduler="synchronous", optimize_graph=False)
        idle.append(clock() - began - recorder.busy)
    share = max(0.0, statistics.median(idle)) / max(1, len(recorder.runs))
    seconds = {key: statistics.median(runs) + share for key, runs in recorder.runs.items()}
    return Profile(seconds, recorder.sizes)


def typical(*profiles: Profile) -> Profile:
    """Give the median seconds of each task over profiles that were measured in turns.

    >>> one, two = Profile({"a": 1.0}, {"a": 8}), Profile({"a": 3.0, "b": 1.0}, {"a": 8, "b": 4})
    >>> dict(typical(one, two).seconds)
    {'a': 2.0, 'b': 1.0}
    """
    runs: dict[Hashable, list[float]] = defaultdict(list)
    sizes: dict[Hashable, int] = {}
    for profile in profiles:
        sizes.update(profile.bytes)
        for key, seconds in profile.seconds.items():
            runs[key].append(seconds)
    return Profile({key: statistics.median(found) for key, found in runs.items()}, sizes)


def problem(
    collections: Sequence[Any],
    unknown_keys: Iterable[Hashable],
    profile: Profile,
    *,
    calls: float = 10.0,
    memory: int | str | None = None,
) -> Problem:
    """Give the graph of a query as a problem in two stages.

    Args:
        collections: the query, one collection or several.
        unknown_keys: keys, or names of layers (``array.name``), that differ from query to query;
            what depends on them is unknown too.
        profile: what each task costs, of ``measure``.
        calls: how many queries there will be.
        memory: cap on the bytes of all chunks that are held between queries.

    Returns:
        The problem; tasks and values are keys.  Data that stands in the graph is at hand.

    Raises:
        InvalidProblem: no key has one of these names, or a task was not measured.

    >>> from dask import delayed
    >>> rows = delayed(list)(range(100), dask_key_name="rows")
    >>> query = delayed(max)(rows, dask_key_name="query")
    >>> planned = problem([query], ["query"], measure(query), memory="64kB")
    >>> planned.graph.nodes["query"]["stage"], planned.graph.nodes["rows"]["stage"]
    ('unknown', 'known')
    """
    tasks: dict[Any, Any] = {}
    for collection in collections:
        tasks.update(dict(collection.__dask_graph__()))
    graph: Any = nx.DiGraph()
    for key, task in tasks.items():
        reads = [read for read in get_dependencies(tasks, key) if read in tasks]
        data = not reads and not istask(task)
        if not data and key not in profile.seconds:
            raise InvalidProblem(f"task {key!r} was not measured: measure the same collections")
        size = profile.bytes.get(key, int(sizeof(task)))
        graph.add_node(
            key,
            seconds=profile.seconds.get(key, 0.0),
            values=(Value(key, size, at_hand=data),),
            stage="known",
            effects=data,
        )
        graph.add_edges_from((read, key) for read in reads)
    wanted = set(unknown_keys)
    unknown: set[Hashable] = set()
    for name in wanted:
        mine = [key for key in graph if key == name or _layer(key) == name]
        if not mine:
            layers = ", ".join(dict.fromkeys(str(_layer(key)) for key in graph))
            raise InvalidProblem(f"no key or layer is called {name!r}; there are {layers}")
        unknown.update(mine)
    for key in list(unknown):
        unknown.update(nx.descendants(graph, key))
    for key in unknown:
        graph.nodes[key]["stage"] = "unknown"
        graph.nodes[key]["values"] = (Value(key, graph.nodes[key]["values"][0].bytes),)
    budget = None if memory is None else Budget(rest=memory)  # pyright: ignore[reportArgumentType]
    return Problem(graph, budget=budget, calls=calls, loads="once")


def _layer(key: Hashable) -> Hashable:
    """The name of the collection that a key is a chunk of."""
    return key[0] if isinstance(key, tuple) and key else key


def apply(decision: Decision, collections: Sequence[Any], **compute: Any) -> tuple[Any, ...]:
    """Persist exactly the keys of a plan; all else stays lazy.

    Args:
        decision: a plan for a problem of this module.
        collections: known collections that queries will be written on; each is given back with the
            chosen keys replaced by their results.
        compute: for the scheduler, for example ``scheduler="threads"``.

    Returns:
        The collections, in order.

    Raises:
        InvalidDecision: it does not say what is kept, or a key is not in the collections.

    >>> from dask import delayed
    >>> from policies.solve import solve
    >>> rows = delayed(sorted)([3, 1, 2], dask_key_name="rows")
    >>> query = delayed(max)(rows, dask_key_name="query")
    >>> plan = solve(problem([query], ["query"], measure(query)))
    >>> (held,) = apply(plan, [rows])
    >>> dict(held.__dask_graph__())["rows"]
    [1, 2, 3]
    """
    if decision.kept is None:
        raise InvalidDecision("the plan does not say what is kept: it was not made for two stages")
    tasks: dict[Any, Any] = {}
    for collection in collections:
        tasks.update(dict(collection.__dask_graph__()))
    keys: list[Any] = list(decision.kept)
    for key in keys:
        if key not in tasks:
            message = f"{key!r} is to be kept, but no collection given has it"
            raise InvalidDecision(message, value=key)
    settings = {"scheduler": "synchronous", **compute}
    get: Any = get_scheduler(**settings)
    results: dict[Any, Any] = dict(zip(keys, get(tasks, keys), strict=True)) if keys else {}
    rebuilt: list[Any] = []
    for collection in collections:
        mine = {**dict(collection.__dask_graph__())}
        mine.update({key: result for key, result in results.items() if key in mine})
        mine = _needed(mine, collection.__dask_keys__())
        rebuild, arguments = collection.__dask_postpersist__()
        rebuilt.append(rebuild(mine, *arguments))
    return tuple(rebuilt)


def _needed(tasks: dict[Any, Any], keys: Any) -> dict[Any, Any]:
    """The part of a graph that its results still depend on."""
    found: dict[Any, Any] = {}
    stack: list[Any] = [keys]
    while stack:
        top = stack.pop()
        if isinstance(top, list):
            stack.extend(top)
        elif top not in found:
            found[top] = tasks[top]
            stack.extend(get_dependencies(tasks, top))
    return found
