"""Two stages at random, and the price of a kept set by its definition, slow and plain."""

import itertools
import random

import networkx as nx

from policies import Choice, Link, Problem, Value

SAVE, OFFLOAD = Choice.SAVE, Choice.OFFLOAD


def two_stages(seed, *, values=8, loads="any", link="any", rich=True, calls=None):
    """A random problem: known tasks of one or two values, and unknown tasks that read them."""
    rng = random.Random(seed)
    graph = nx.DiGraph()
    made = []
    loads = rng.choice([None, "once", "every_call"]) if loads == "any" else loads
    if link == "any":
        rate, wait = rng.choice([0.5, 2.0, 20.0]), rng.choice([0.0, 0.5])
        link = rng.choice([None, Link(rate, wait)])
    while len(made) < values:
        task = len(graph)
        data = {"seconds": float(rng.randint(0, 5)), "stage": "known"}
        count = min(2 if rich and rng.random() < 0.3 else 1, values - len(made))
        marks = {}
        if rich and rng.random() < 0.15:
            marks["at_hand"] = True
        elif rich and rng.random() < 0.4:
            marks["together"] = rng.choice("pqr")
        data["values"] = tuple(Value((task, i), rng.randint(0, 9), **marks) for i in range(count))
        draw = rng.random()
        if rich and draw < 0.15:
            data["effects"] = True
        elif rich and draw < 0.25:
            data["allowed"] = frozenset({Choice.RECOMPUTE})
        elif rich and draw < 0.35:
            data["allowed"] = frozenset({SAVE})
        elif rich and draw < 0.45 and link is not None:
            data["allowed"] = frozenset({OFFLOAD, Choice.RECOMPUTE})
        sources = [u for u in graph if rng.random() < 0.4]
        graph.add_node(task, **data)
        for source in sources:
            names = [v.name for v in graph.nodes[source]["values"]]
            reads = tuple(n for n in names if rng.random() < 0.8)
            graph.add_edge(source, task, reads=reads)
        made += [v.name for v in data["values"]]
    known = list(graph)
    for _ in range(rng.randint(1, 3)):
        task = len(graph)
        graph.add_node(task, seconds=float(rng.randint(0, 3)), bytes=1, stage="unknown")
        for source in known:
            if rng.random() < 0.35:
                names = [v.name for v in graph.nodes[source]["values"]]
                graph.add_edge(source, task, reads=tuple(n for n in names if rng.random() < 0.8))
    calls = rng.choice([0.5, 1.0, 3.0, 100.0]) if calls is None else calls
    return Problem(graph, link=link, loads=loads, calls=calls)


def price(problem, kept):
    """Seconds, bytes at rest and resident of a kept set, by recursion; None if it cannot be."""
    graph = problem.graph
    values = {v.name: v for task in graph for v in problem.values(task)}
    known = {n for n in values if graph.nodes[problem.owner[n]]["stage"] == "known"}
    once = per_call = 0.0
    for name, choice in kept.items():
        can = problem.allowed(problem.owner[name])
        load = problem.link.copy_seconds(values[name].bytes) if problem.link else 0.0
        if problem.loads == "every_call":
            if choice is SAVE or can == {Choice.RECOMPUTE}:
                return None
            per_call += load
        elif choice is OFFLOAD:
            if OFFLOAD not in can or problem.link is None:
                return None
            per_call += load
        else:
            if SAVE not in can:
                return None
            once += load if problem.loads == "once" else 0.0
    for name in kept:
        group = values[name].together
        mine = [n for n in known if group is not None and values[n].together == group]
        if any(kept.get(n) is not kept[name] for n in mine):
            return None
    again = set()

    def get(name):
        if name in kept or values[name].at_hand:
            return True
        task = problem.owner[name]
        if task in again:
            return True
        if Choice.RECOMPUTE not in problem.allowed(task) or graph.nodes[task].get("effects"):
            return False
        again.add(task)
        return all(get(n) for u in graph.predecessors(task) for n in graph.edges[u, task]["reads"])

    late = [t for t in graph if graph.nodes[t]["stage"] == "unknown"]
    for task in late:
        for u in graph.predecessors(task):
            for name in graph.edges[u, task]["reads"]:
                if name in known and not get(name):
                    return None
    cost = {t: graph.nodes[t]["seconds"] for t in graph}
    seconds = sum(cost[t] for t in graph if t not in late) + once
    seconds += problem.calls * (sum(cost[t] for t in [*late, *again]) + per_call)
    rest = sum(values[n].bytes for n in kept)
    resident = sum(values[n].bytes for n, choice in kept.items() if choice is SAVE)
    return seconds, rest, resident


def every_kept_set(problem, *, most=3000):
    """All kept sets that can be, with their prices."""
    known = [
        v.name
        for task in problem.graph
        if problem.graph.nodes[task]["stage"] == "known"
        for v in problem.values(task)
        if not v.at_hand
    ]
    ways = (None, SAVE, OFFLOAD)
    if problem.loads == "every_call":
        ways = (None, OFFLOAD)
    elif problem.link is None:
        ways = (None, SAVE)
    found = []
    assert len(ways) ** len(known) <= most
    for picks in itertools.product(ways, repeat=len(known)):
        kept = {name: pick for name, pick in zip(known, picks, strict=True) if pick}
        one = price(problem, kept)
        if one is not None:
            found.append((kept, one))
    return found


def best(priced, rest=None, resident=None):
    fitting = [
        seconds
        for _, (seconds, at_rest, stays) in priced
        if (rest is None or at_rest <= rest) and (resident is None or stays <= resident)
    ]
    return min(fitting, default=None)
