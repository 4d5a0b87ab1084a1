"""The least seconds of a tiny problem with a link, by a shortest path over everything there is.

Written from the definition of the referee for copies, forwards in time and without its notion of a
last read: a state is what has run, which fast copies there are and until when they are under way,
what is stored, and when each stream is free, all relative to the clock.
"""

import heapq
import itertools

import numpy as np

from policies import Choice, Fetch, Free, Store
from policies.compact import compact_of, value_names


def least_with_copies(problem, most_seconds=float("inf"), most_states=50_000):
    """Seconds and an order for a fixed order of first executions; None if there is none so quick.

    A fast copy is given up only where something else does not fit otherwise: sooner is no better.
    Raises OverflowError if there are too many states.
    """
    compact, names, link = compact_of(problem, problem.limit.resolve(problem)), None, problem.link
    names = value_names(problem)
    size = compact.value_bytes
    reads = [
        compact.reads[compact.read_start[t] : compact.read_start[t + 1]].tolist()
        for t in range(compact.n)
    ]
    made = [list(range(compact.made_start[t], compact.made_start[t + 1])) for t in range(compact.n)]
    final = np.flatnonzero(compact.must_live).tolist()
    movable = [
        Choice.OFFLOAD in problem.allowed(compact.tasks[t]) and size[v] > 0
        for v, t in enumerate(compact.value_task.tolist())
    ]
    copy = [link.copy_seconds(int(b)) for b in size]
    rest = [float(compact.seconds[t:].sum()) for t in range(compact.n + 1)]
    tick = itertools.count()
    start = (0, (), (), (), 0.0, 0.0)
    heap = [(rest[0], next(tick), 0.0, start, ())]
    done = set()

    def later(state, seconds):
        """The state after so many seconds."""
        ran, fast, leaving, stored, out, back = state

        def left(x):
            return max(0.0, x - seconds)

        return (
            ran,
            tuple(sorted((v, left(ready), left(busy)) for v, ready, busy in fast)),
            tuple(sorted((v, u - seconds, new) for v, u, new in leaving if u > seconds)),
            tuple(sorted((v, left(x)) for v, x in stored)),
            left(out),
            left(back),
        )

    def without(fast, leaving, value, newest=True):
        """What is left when a fast copy goes; one that may be waited for, or not."""
        busy = next(until for v, _, until in fast if v == value)
        fast = tuple(stay for stay in fast if stay[0] != value)
        return fast, (*leaving, (value, busy, newest)) if busy > 0 else leaving

    while heap:
        _, _, clock, state, path = heapq.heappop(heap)
        if state == "end":
            return clock, unrolled(path)
        if state in done:
            continue
        done.add(state)
        if len(done) > most_states:
            raise OverflowError
        ran, fast, leaving, stored, out, back = state
        here = {v: (ready, busy) for v, ready, busy in fast}
        known = dict(stored)
        live = sum(int(size[v]) for v in here) + sum(int(size[v]) for v, _, _ in leaving)

        def go(seconds, other, event=None):
            step = path if event is None else (path, event)
            now = clock + seconds
            least = now + (rest[other[0]] if other != "end" else 0.0)
            if least <= most_seconds + 1e-9:
                heapq.heappush(heap, (least, -next(tick), now, other, step))

        if ran == compact.n and all(v in here for v in final):
            go(max((here[v][0] for v in final), default=0.0), "end")
        ready_to_run = [
            t
            for t in range(min(ran + 1, compact.n))
            if (t == ran or compact.rerun[t])
            and all(v in here for v in reads[t])
            and (t == ran or any(v not in here for v in made[t]))
        ]
        wanted = [
            sum(int(size[v]) for v in made[t]) + int(compact.workspace[t]) for t in ready_to_run
        ]
        wanted += [int(size[v]) for v in known if v not in here]
        wanted += [compact.budget + 1 for t in ready_to_run if any(v in here for v in made[t])]
        tight = live + max(wanted, default=0) > compact.budget
        for v in here:
            if tight:
                less, more = without(fast, leaving, v)
                go(0.0, later((ran, less, more, stored, out, back), 0.0))
            if movable[v] and v not in known:
                begin = max(out, here[v][0], 0.0 if link.duplex else back)
                end = begin + copy[v]
                stay = tuple((w, r, max(b, end) if w == v else b) for w, r, b in fast)
                go(0.0, later((ran, stay, leaving, (*stored, (v, end)), end, back), 0.0),
                   Store(names[v]))  # fmt: skip
        for v, until, newest in leaving:
            if newest:
                go(until, later(state, until), Free(names[v]))
        for v, end in stored:
            if v not in here and live + size[v] <= compact.budget:
                until = max(back, end, 0.0 if link.duplex else out) + copy[v]
                old = tuple((w, u, new and w != v) for w, u, new in leaving)
                go(0.0, later((ran, (*fast, (v, until, until)), old, stored, out, until), 0.0),
                   Fetch(names[v]))  # fmt: skip
        for t in ready_to_run:
            if any(v in here for v in made[t]):
                continue
            wait = max((here[v][0] for v in reads[t]), default=0.0)
            memory = live + sum(int(size[v]) for v in made[t]) + int(compact.workspace[t])
            target = int(compact.overwrite_value[t])
            for taken in (False, True) if target >= 0 else (False,):
                if memory - (int(compact.overwrite[t]) if taken else 0) > compact.budget:
                    continue
                old = tuple((w, u, new and w not in made[t]) for w, u, new in leaving)
                kept = tuple(x for x in stored if x[0] not in made[t])
                seconds = wait + float(compact.seconds[t])
                other = later((max(ran, t + 1), fast, old, kept, out, back), seconds)
                _, stays, old, kept, free, free_back = other
                if taken:
                    stays, old = without(stays, old, target, newest=False)
                stays = tuple(sorted((*stays, *((v, 0.0, 0.0) for v in made[t]))))
                go(seconds, (other[0], stays, old, kept, free, free_back), compact.tasks[t])
    return None


def unrolled(path):
    """The events of a path, from the first."""
    events = []
    while path:
        path, event = path
        events.append(event)
    return events[::-1]
