"""The referee for orders with copies: two streams beside the compute stream.

Time runs along the order.  A Store takes the next place on the stream to slow memory; the fast copy
stays alive at least until the copy is complete.  A Fetch takes the next place on the stream back
once its value is stored; its fast copy counts from the Fetch on, and the first read waits for it.
A Free waits until the value's store is complete and gives up the fast copy.  Without a Free, a fast
copy dies at its last read before the value is next fetched or made, or when its store is complete,
whichever is later.  The end waits for the last copies of values that must live.  Without ``duplex``
both directions share one stream.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from policies.compact import Compact, compact_of, value_names
from policies.decision import Event, Fetch, Free, Store
from policies.errors import InvalidDecision
from policies.evaluate import Evaluation
from policies.judge import late_start
from policies.problem import Choice, Problem

__all__ = ["play", "stalls"]


@dataclass(slots=True)
class _Copy:
    """One stay of a value in fast memory."""

    value: int
    made_at: int
    last: int
    late: bool
    version: int
    ready: float = 0.0
    busy_until: float = 0.0
    freed: bool = False


def play(problem: Problem, order: Sequence[Event]) -> Evaluation:
    """Price an order with Store, Fetch and Free events.

    Args:
        problem: with a link.
        order: of tasks and copies.

    Returns:
        Peak bytes of fast memory and seconds, stalls included.

    Raises:
        InvalidDecision: naming position, task and value.

    >>> import networkx as nx
    >>> from policies.problem import Link
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=1, bytes=9)
    >>> graph.add_node("c", seconds=1, bytes=1)
    >>> graph.add_edge("a", "c")
    >>> problem = Problem(graph, link=Link(8.0))
    >>> events = ["a", Store("a"), Free("a"), "b", Fetch("a"), "c"]
    >>> result = play(problem, events)
    >>> result.peak_bytes, result.seconds, result.stall_seconds
    (9, 4.0, 1.0)
    """
    compact = compact_of(problem, 0)
    return _Player(problem, compact, tuple(order)).run()


def stalls(problem: Problem, order: Sequence[Event]) -> dict[Hashable, float]:
    """Give the seconds that an order waits for the copies of each value, one time.

    Raises:
        InvalidDecision: the order cannot be run.

    >>> import networkx as nx
    >>> from policies.problem import Link
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=1, bytes=4)
    >>> graph.add_node("b", seconds=1, bytes=9)
    >>> graph.add_edge("a", "b")
    >>> problem = Problem(graph, link=Link(8.0))
    >>> stalls(problem, ["a", Store("a"), Free("a"), Fetch("a"), "b"])
    {'a': 1.0}
    """
    player = _Player(problem, compact_of(problem, 0), tuple(order))
    player.run()
    return {player.names[value]: seconds for value, seconds in player.stalls.items()}


class _Player:
    """Plays one order: one pass finds the stays and their last reads, another times them."""

    def __init__(self, problem: Problem, compact: Compact, order: tuple[Event, ...]) -> None:
        self.problem = problem
        self.compact = compact
        self.order = order
        self.names = value_names(problem)
        self.task_id = {task: t for t, task in enumerate(compact.tasks)}
        self.value_id = {name: v for v, name in enumerate(self.names) if name is not None}
        self.used: list[list[_Copy]] = []
        self.made: list[list[_Copy]] = []
        self.final: list[_Copy] = []
        self.stalls: dict[int, float] = {}
        self.recomputations = 0
        self.late_from = late_start(compact, self.task_id, order)

    def run(self) -> Evaluation:
        """Both passes."""
        self._link()
        return self._time()

    def _bad(self, position: int, message: str, value: Hashable = None) -> InvalidDecision:
        event = self.order[position]
        message = f"position {position}: {event!r} {message}"
        return InvalidDecision(message, position=position, task=event, value=value)

    def _value(self, position: int, name: Hashable) -> int:
        if name not in self.value_id:
            raise self._bad(position, "names no value of the problem", name)
        value = self.value_id[name]
        if self.problem.root(name).name != name:
            raise self._bad(position, "is about a view; copy its root", name)
        return value

    def _link(self) -> None:
        """Find for each event the stays that it uses, and the last use of each stay."""
        compact = self.compact
        now: dict[int, _Copy] = {}
        stored: dict[int, int] = {}
        version = [0] * len(self.names)
        ran: set[int] = set()
        for position, event in enumerate(self.order):
            used: list[_Copy] = []
            made: list[_Copy] = []
            if isinstance(event, (Store, Fetch, Free)):
                value = self._value(position, event.value)
                here = now.get(value)
                if isinstance(event, Store):
                    if self.problem.link is None:
                        raise self._bad(position, "needs a link to slow memory", event.value)
                    maker = compact.tasks[compact.value_task[value]]
                    if Choice.OFFLOAD not in self.problem.allowed(maker):
                        raise self._bad(position, "may not be offloaded", event.value)
                    if here is None or here.freed:
                        raise self._bad(position, "copies a value that is not there", event.value)
                    stored[value] = here.version
                    used.append(here)
                elif isinstance(event, Free):
                    if here is None or here.freed:
                        raise self._bad(position, "frees a value that is not there", event.value)
                    here.freed = True
                    used.append(here)
                else:
                    if value not in stored or stored[value] != version[value]:
                        raise self._bad(position, "fetches what was not stored", event.value)
                    early = here is not None and not here.late
                    stay = _Copy(value, position, position, not early, version[value])
                    now[value] = stay
                    made.append(stay)
            else:
                used, made = self._link_task(position, event, now, version, ran)
            for stay in used:
                stay.last = position
            self.used.append(used)
            self.made.append(made)
        if len(ran) < compact.n:
            never = next(task for t, task in enumerate(compact.tasks) if t not in ran)
            raise InvalidDecision(f"task {never!r} is never run", task=never)
        for value, keep in enumerate(compact.must_live):
            if keep:
                stay = now[value]
                if stay.freed:
                    message = f"{self.names[value]!r} must live to the end and is freed"
                    raise InvalidDecision(message, value=self.names[value])
                stay.last = len(self.order)
                self.final.append(stay)

    def _link_task(
        self,
        position: int,
        event: Event,
        now: dict[int, _Copy],
        version: list[int],
        ran: set[int],
    ) -> tuple[list[_Copy], list[_Copy]]:
        compact = self.compact
        if event not in self.task_id:
            raise self._bad(position, "is not a task of the graph")
        task = self.task_id[event]
        late = position >= self.late_from
        if task in ran:
            self.recomputations += 1
            if not compact.rerun[task]:
                raise self._bad(position, "may not run again")
        elif not compact.free_order and task != len(ran):
            raise self._bad(position, f"runs before {compact.tasks[len(ran)]!r}, out of order")
        ran.add(task)
        used: list[_Copy] = []
        for value in compact.reads[compact.read_start[task] : compact.read_start[task + 1]]:
            stay = now.get(int(value))
            name = self.names[value]
            if stay is None or stay.freed:
                raise self._bad(position, f"reads {name!r}, which is not there", name)
            held = compact.hold[compact.value_task[value]] or compact.value_bytes[value] == 0
            if late and not compact.known[task] and not stay.late and not held:
                raise self._bad(position, f"reads {name!r} from before the first unknown", name)
            used.append(stay)
        made: list[_Copy] = []
        for value in range(compact.made_start[task], compact.made_start[task + 1]):
            version[value] += 1
            now[value] = _Copy(value, position, position, late, version[value])
            made.append(now[value])
        return used, made

    def _time(self) -> Evaluation:
        """Play the order against the clock and count bytes."""
        compact, link = self.compact, self.problem.link
        sizes = compact.value_bytes
        clock = stall = early = 0.0
        out_free = back_free = 0.0
        stored: dict[int, float] = {}
        leaving: list[tuple[float, int, int]] = []
        present: dict[int, _Copy] = {}
        live = peak = offloaded = crossing = fast = 0
        argmax = -1
        at_peak: tuple[tuple[Hashable, int], ...] = ()
        workspace = 0

        def wait(stay: _Copy, until: float) -> None:
            nonlocal clock
            if until > clock:
                self.stalls[stay.value] = self.stalls.get(stay.value, 0.0) + until - clock
                clock = until

        def leave(stay: _Copy) -> None:
            nonlocal live
            if stay.busy_until > clock:
                heapq.heappush(leaving, (stay.busy_until, stay.made_at, stay.value))
                pending[stay.made_at, stay.value] = stay
            else:
                live -= int(sizes[stay.value])
                present.pop(id(stay))

        pending: dict[tuple[int, int], _Copy] = {}
        for position, event in enumerate(self.order):
            if position == self.late_from:
                early = clock
            while leaving and leaving[0][0] <= clock:
                _, made_at, value = heapq.heappop(leaving)
                live -= int(sizes[value])
                present.pop(id(pending.pop((made_at, value))))
            used, made = self.used[position], self.made[position]
            if isinstance(event, Store) and link is not None:
                stay = used[0]
                size = int(sizes[stay.value])
                begin = max(out_free, clock, stay.ready)
                if not link.duplex:
                    begin = max(begin, back_free)
                out_free = begin + link.copy_seconds(size)
                stay.busy_until = max(stay.busy_until, out_free)
                stored[stay.value] = out_free
                offloaded += size
            for stay in made:
                present[id(stay)] = stay
                live += int(sizes[stay.value])
                if stay.made_at < self.late_from <= stay.last:
                    fast += int(sizes[stay.value])
            if isinstance(event, Fetch) and link is not None:
                stay = made[0]
                begin = max(back_free, clock, stored[stay.value])
                if not link.duplex:
                    begin = max(begin, out_free)
                back_free = begin + link.copy_seconds(int(sizes[stay.value]))
                stay.ready = stay.busy_until = back_free
                if live > peak or argmax < 0:
                    peak, argmax, workspace = live, position, 0
                    at_peak = self._alive(present)
            elif isinstance(event, Free):
                stay = used[0]
                before = clock
                wait(stay, stay.busy_until)
                stall += clock - before
            elif event in self.task_id:
                task = self.task_id[event]
                before = clock
                for stay in sorted(used, key=lambda stay: stay.ready):
                    wait(stay, stay.ready)
                stall += clock - before
                now = live + int(compact.workspace[task])
                target = int(compact.overwrite_value[task])
                if any(s.value == target and s.last == position for s in used):
                    now -= int(compact.overwrite[task])
                if now > peak or argmax < 0:
                    peak, argmax, workspace = now, position, int(compact.workspace[task])
                    at_peak = self._alive(present)
                clock += float(compact.seconds[task])
            for stay in (*used, *made):
                if stay.last == position and id(stay) in present:
                    leave(stay)
        for stay in self.final:
            before = clock
            wait(stay, stay.ready)
            stall += clock - before
        if self.late_from == len(self.order):
            early = clock
        late = clock - early
        crossing = self._crossing()
        return Evaluation(
            peak_bytes=peak + self.problem.fixed_bytes,
            seconds=early + self.problem.calls * late,
            argmax=argmax,
            live=at_peak,
            workspace_bytes=workspace,
            recomputations=self.recomputations,
            early_seconds=early,
            late_seconds=late,
            crossing_bytes=crossing,
            stall_seconds=stall,
            offloaded_bytes=offloaded,
            fast_crossing_bytes=fast,
        )

    def _alive(self, present: dict[int, _Copy]) -> tuple[tuple[Hashable, int], ...]:
        sizes = self.compact.value_bytes
        found = sorted({stay.value for stay in present.values()})
        return tuple((self.names[v], int(sizes[v])) for v in found if sizes[v] > 0)

    def _crossing(self) -> int:
        """Bytes of versions made before the first unknown task and read (or fetched) later."""
        first: dict[tuple[int, int], int] = {}
        crossed: set[tuple[int, int]] = set()
        for position in range(len(self.order)):
            for stay in self.made[position]:
                first.setdefault((stay.value, stay.version), position)
            for stay in self.used[position]:
                key = (stay.value, stay.version)
                if first[key] < self.late_from <= position:
                    crossed.add(key)
        return sum(int(self.compact.value_bytes[value]) for value, _ in crossed)
