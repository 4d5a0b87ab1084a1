"""Three problems that have nothing to do with derivatives."""

import networkx as nx
import pytest

from policies import (
    Budget,
    Choice,
    Fetch,
    Free,
    Infeasible,
    Limits,
    Link,
    Option,
    Problem,
    Store,
    Value,
    evaluate,
    solve,
)
from policies.explain import explain

KIB = 1024


def build_problem(calls):
    """Parse and index a corpus once; answer a query each time, from what the build left behind."""
    graph = nx.DiGraph()
    graph.add_node("read", seconds=4.0, bytes=6 * KIB, effects=True)
    graph.add_node("parse", seconds=6.0, bytes=5 * KIB)
    graph.add_node("index", seconds=2.0, bytes=3 * KIB)
    graph.add_node("stats", seconds=0.1, bytes=2 * KIB)
    graph.add_node("query", seconds=0.0, bytes=1 * KIB, stage="unknown")
    graph.add_node("rank", seconds=0.5, bytes=1 * KIB, stage="unknown", must_live=True)
    graph.add_edges_from([("read", "parse"), ("parse", "index"), ("parse", "stats")])
    graph.add_edges_from([("query", "rank"), ("index", "rank"), ("stats", "rank")])
    return Problem(graph, first_order=tuple(graph), calls=calls)


def test_build_time_and_run_time():
    problem = build_problem(calls=1000)
    rich = solve(problem, "exhaustive")
    assert rich.seconds == pytest.approx(12.1 + 1000 * 0.5)
    assert rich.choice["index"] is Choice.SAVE
    assert evaluate(problem, rich).crossing_bytes == 5 * KIB
    # a rule may forbid that a value crosses: then every call pays for it
    barred = problem.graph.copy()
    barred = nx.DiGraph(barred)
    barred.nodes["stats"]["allowed"] = frozenset({Choice.RECOMPUTE})
    other = Problem(barred, first_order=tuple(barred), calls=1000)
    lean = solve(other, "exhaustive")
    assert lean.choice["stats"] is Choice.RECOMPUTE
    assert lean.runs.count("stats") == 2
    assert lean.seconds > rich.seconds
    assert lean.bound_seconds <= lean.seconds


def test_a_notebook_cache():
    """Cells read the results of earlier cells; memory is short; downloads are not repeated."""
    graph = nx.DiGraph()
    graph.add_node("download", seconds=30.0, bytes=8 * KIB, effects=True)
    graph.add_node("clean", seconds=3.0, bytes=8 * KIB)
    graph.add_node("features", seconds=9.0, bytes=4 * KIB)
    graph.add_node("plot", seconds=1.0, bytes=1 * KIB)
    graph.add_node("model", seconds=20.0, bytes=2 * KIB)
    graph.add_node("report", seconds=1.0, bytes=1 * KIB, must_live=True)
    cells = [("download", "clean"), ("clean", "features"), ("clean", "plot")]
    cells += [("features", "model"), ("model", "report"), ("clean", "report"), ("plot", "report")]
    graph.add_edges_from(cells)
    graph.add_edge("download", "report")
    problem = Problem(graph, first_order=tuple(graph))
    with pytest.raises(Infeasible) as caught:
        solve(problem.with_budget("12KiB"), "exhaustive")
    assert caught.value.proved
    assert {"download", "clean"} <= {name for name, _ in caught.value.witness}
    tight = solve(problem.with_budget(caught.value.min_bytes), "exhaustive")
    assert tight.peak_bytes <= caught.value.min_bytes
    assert tight.runs.count("download") == 1
    story = {s.value: s for s in explain(problem, tight).stories}
    assert story["download"].reason == "saved: it may not be made again"


def test_a_streaming_dataflow_with_slow_memory():
    """Frames pass through; each window joins a frame with an old one that waits on disk."""
    graph = nx.DiGraph()
    for i in range(6):
        graph.add_node(("frame", i), values=(Value(("px", i), 8 * KIB),), seconds=1.0, effects=True)
        if i:
            graph.add_edge(("frame", i - 1), ("frame", i), reads=())
    graph.add_node("join", values=(Value("out", KIB, must_live=True),), seconds=1.0)
    graph.add_edge(("frame", 0), "join")
    graph.add_edge(("frame", 5), "join")
    order = (*[("frame", i) for i in range(6)], "join")
    problem = Problem(graph, budget=20 * KIB, first_order=order, link=Link(16 * KIB))
    resident = evaluate(problem, order)
    assert resident.peak_bytes == 17 * KIB
    # frames are never repeated, so below this only a copy to disk helps
    moved = (order[0], Store(("px", 0)), Free(("px", 0)), *order[1:5], Fetch(("px", 0)), *order[5:])
    away = evaluate(problem, moved)
    assert away.stall_seconds == pytest.approx(0.5)
    assert away.offloaded_bytes == 8 * KIB
    assert away.seconds == pytest.approx(resident.seconds + 0.5)
    profile = [evaluate(problem, moved).peak_bytes, resident.peak_bytes]
    assert profile[0] <= profile[1]


def test_options_and_least_memory():
    graph = nx.DiGraph()
    graph.add_node("a", seconds=1.0, bytes=8)
    graph.add_node("b", seconds=1.0, bytes=8)
    graph.add_node("c", seconds=1.0, bytes=1)
    graph.add_edges_from([("a", "b"), ("b", "c"), ("a", "c")])
    ways = (Option("fast", {}), Option("lean", {"b": {"seconds": 3.0, "bytes": 2}}))
    problem = Problem(graph, 17, first_order=tuple("abc"), options={"b": ways})
    assert solve(problem, "exhaustive").options == {"b": "fast"}
    lean = solve(problem.with_budget(11), "exhaustive")
    assert lean.options == {"b": "lean"}
    assert evaluate(problem, lean).peak_bytes == 11
    least = solve(Problem(graph, Budget(overhead=0.5), first_order=tuple("abc")), "exhaustive")
    assert least.peak_bytes == 17
    assert least.seconds == 3.0
    with pytest.raises(Infeasible) as caught:
        solve(problem.with_budget(10), "exhaustive", limits=Limits())
    assert caught.value.proved
    assert caught.value.min_bytes == 11
