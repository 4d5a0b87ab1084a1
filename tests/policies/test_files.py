"""Problems and decisions are files: they round-trip, and bad ones are refused by name."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import (
    Budget,
    InvalidDecision,
    InvalidProblem,
    Limits,
    Link,
    Option,
    Problem,
    evaluate,
    solve,
)
from policies.baselines import save_all
from policies.generate import chain, random_problem
from policies.serialize import (
    decision_from_json,
    decision_to_json,
    problem_from_json,
    problem_to_json,
    read_problem,
)


def same_edges(one, other):
    mine = {(u, v): d.get("reads") for u, v, d in one.graph.edges(data=True)}
    theirs = {(u, v): d.get("reads") for u, v, d in other.graph.edges(data=True)}
    assert mine == theirs


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 9), st.booleans())
def test_a_problem_reads_back(seed, n, fixed):
    problem = random_problem(n, seed, fixed=fixed).with_budget(Budget(fraction=0.7, reserve=3))
    again = problem_from_json(problem_to_json(problem))
    same_edges(problem, again)
    assert list(problem.graph.nodes) == list(again.graph.nodes)
    for task in problem.graph:
        assert problem.values(task) == again.values(task)
        assert problem.allowed(task) == again.allowed(task)
        mine, theirs = problem.graph.nodes[task], again.graph.nodes[task]
        for name, default in (("workspace_bytes", 0), ("stage", "known"), ("overwrites", ())):
            assert mine.get(name, default) == theirs.get(name, default)
        assert mine["seconds"] == theirs["seconds"]
    assert problem.limit == again.limit
    assert problem.first_order == again.first_order
    assert problem_to_json(again) == problem_to_json(problem)


def test_link_calls_and_options_read_back():
    base = chain(3)
    ways = (Option("a", {}), Option("b", {0: {"seconds": 2.5, "bytes": 3}}))
    problem = Problem(
        base.graph, "1KiB", Link(1e9, 1e-6, False), base.first_order, 7, 10.0, {("g", 1): ways}
    )
    again = problem_from_json(problem_to_json(problem))
    assert again.link == problem.link
    assert (again.reserved_bytes, again.calls) == (7, 10.0)
    assert again.options[("g", 1)][1].tasks[0] == {"seconds": 2.5, "bytes": 3}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_a_decision_reads_back(seed, n):
    problem = random_problem(n, seed)
    decision = save_all(problem, limits=Limits())
    again = decision_from_json(decision_to_json(decision))
    assert again == decision
    assert evaluate(problem, again) == evaluate(problem, decision)


NODE = {"id": "a", "seconds": 1, "bytes": 8}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("not json", "not JSON"),
        ('{"nodes": [', "cut short"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "a JSON object"),
        ("3", "a JSON object"),
        ({"links": []}, "'nodes'"),
        ({"nodes": []}, "'edges'"),
        ({"nodes": [3], "links": []}, "nodes[0]"),
        ({"nodes": [NODE, NODE], "links": []}, "'a': two nodes"),
        ({"nodes": [{"id": [1]}], "links": []}, "nodes[0]"),
        ({"nodes": [{"id": "a", "bytes": 1}], "links": []}, "node 'a': none of seconds"),
        ({"nodes": [{"id": "a", "seconds": 1}], "links": []}, "node 'a': none of bytes"),
        ({"nodes": [{**NODE, "seconds": -1}], "links": []}, "node 'a': seconds"),
        ('{"nodes": [{"id": "a", "seconds": NaN, "bytes": 1}], "links": []}', "NaN"),
        ('{"nodes": [{"id": "a", "seconds": 1e999, "bytes": 1}], "links": []}', "'a': seconds"),
        ({"nodes": [{**NODE, "bytes": -8}], "links": []}, "node 'a': bytes"),
        ({"nodes": [{**NODE, "bytes": 1.5}], "links": []}, "task 'a': bytes"),
        ({"nodes": [{**NODE, "bytes": "8"}], "links": []}, "node 'a': bytes"),
        ({"nodes": [{**NODE, "bytes": True}], "links": []}, "node 'a': bytes"),
        ({"nodes": [{**NODE, "bytes": 1 << 63}], "links": []}, "too large"),
        ({"nodes": [{**NODE, "stage": "soon"}], "links": []}, "stage"),
        ({"nodes": [{**NODE, "allowed": ["sometimes"]}], "links": []}, "allowed"),
        ({"nodes": [NODE], "links": [{"source": "a"}]}, "links[0]: the key 'target'"),
        ({"nodes": [NODE], "links": [{"source": "a", "target": "b"}]}, "no node 'b'"),
        ({"nodes": [NODE], "links": [{"source": "a", "target": "a"}]}, "cycle: 'a' -> 'a'"),
        ({"nodes": [NODE], "links": [], "graph": {"order": ["a", "a"]}}, "twice"),
        ({"nodes": [NODE], "links": [], "graph": {"order": []}}, "leaves out task 'a'"),
        ({"nodes": [], "links": [], "format": "something"}, "'something'"),
        ({"nodes": [], "links": [], "format": "policies.problem", "version": 9}, "version 9"),
        ('{"nodes": [{"id": "a", "seconds": 1, "bytes": ' + "9" * 5000 + "}]}", "too l"),
    ],
)
def test_a_bad_problem_is_refused_by_name(document, said):
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(InvalidProblem) as caught:
        problem_from_json(text)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InvalidProblem, match="cannot be read"):
        read_problem(tmp_path / "none.json")
    path = tmp_path / "image.json"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InvalidProblem, match="not a text file"):
        read_problem(path)


DAMAGED = ["order", "status", "seconds", "peak_bytes", "budget_bytes", "version", "format"]


@pytest.mark.parametrize("name", [*DAMAGED, "policy", "bound_engine", "choice", "options"])
@pytest.mark.parametrize("value", [None, [[]], {"x": 1}])
def test_a_damaged_decision_is_refused(name, value):
    decision = save_all(random_problem(5, 3), limits=Limits())
    damaged = {**json.loads(decision_to_json(decision)), name: value}
    with pytest.raises(InvalidDecision):
        decision_from_json(json.dumps(damaged))


def test_bytes_beyond_float_precision_are_exact():
    size = (1 << 53) + 1
    text = json.dumps({"nodes": [{**NODE, "bytes": size}], "links": []})
    assert solve(problem_from_json(text), "save_all").peak_bytes == size
