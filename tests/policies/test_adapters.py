"""Problems from elsewhere: recorded workflows, Dask graphs, Python functions that ran once."""

import json
from pathlib import Path

import numpy as np
import pytest

from policies import Budget, Choice, InvalidDecision, InvalidProblem, Link, Status, evaluate, solve
from policies.adapters.memo import Memo
from policies.adapters.wfcommons import classes, load
from policies.keep_rules import RULES
from policies.keeping import keeping, two_stages
from policies.serialize import problem_from_json, problem_to_json

WORKFLOWS = sorted((Path(__file__).parents[3] / "shared" / "bench" / "workflows").glob("*.json"))


def workflow(tasks, files, seconds=60.0):
    return {
        "name": "small",
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": tasks,
                "files": [{"id": name, "sizeInBytes": size} for name, size in files.items()],
            },
            "execution": {
                "tasks": [{"id": task["id"], "runtimeInSeconds": seconds} for task in tasks]
            },
        },
    }


def task(name, parents=(), reads=(), writes=()):
    return {
        "id": name,
        "name": name,
        "parents": list(parents),
        "inputFiles": list(reads),
        "outputFiles": list(writes),
    }


CLEAN = task("clean_ID01", (), ("raw",), ("rows", "log"))
SORT = task("sort_ID02", ("clean_ID01",), ("rows",), ("sorted",))
PLOT = task("plot_ID03", ("sort_ID02", "clean_ID01"), ("sorted", "raw"), ("figure",))
FILES = {"raw": 9_000_000, "rows": 4_000_000, "log": 10, "sorted": 3_000_000, "figure": 1000}


@pytest.fixture
def written(tmp_path):
    def write(document):
        path = tmp_path / "workflow.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


def test_a_varied_step_and_what_comes_after_it_is_unknown(written):
    path = written(workflow([CLEAN, SORT, PLOT], FILES))
    assert list(classes(path)) == ["clean", "sort", "plot"]
    assert classes(path)["sort"] == ("sort_ID02",)
    problem = load(path, vary="sort", calls=5)
    stages = {t: d.get("stage", "known") for t, d in problem.graph.nodes(data=True)}
    assert stages == {"clean_ID01": "known", "sort_ID02": "unknown", "plot_ID03": "unknown"}
    found = solve(problem)
    assert dict(found.kept) == {"rows": Choice.OFFLOAD}
    assert found.seconds == pytest.approx(60 + 5 * (120 + 0.04))
    capped = load(path, vary="sort_ID02", calls=5, budget=Budget(rest="3MB"), link=Link(1e9))
    assert solve(capped).seconds == pytest.approx(60 + 5 * 180)


def test_files_that_several_tasks_write_come_from_the_parent(written):
    other = task("other_ID04", (), (), ("rows",))
    problem = load(written(workflow([CLEAN, other, SORT, PLOT], FILES)), vary="plot")
    assert problem.graph.edges["clean_ID01", "sort_ID02"]["reads"] == (("rows", "clean_ID01"),)
    assert not problem.graph.has_edge("other_ID04", "sort_ID02")


def edited(**changes):
    document = workflow([CLEAN, SORT, PLOT], FILES)
    document.update(changes)
    return document


def without_runtime():
    document = workflow([CLEAN, SORT, PLOT], FILES)
    del document["workflow"]["execution"]["tasks"][1]["runtimeInSeconds"]
    return document


LOOP = {**CLEAN, "parents": ["plot_ID03"]}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (json.dumps(workflow([CLEAN], FILES))[:-40], "cut short"),
        ("[1]", "a workflow is a JSON object"),
        (edited(schemaVersion="1.4"), "schemaVersion is '1.4'; this reads '1.5'"),
        (edited(schemaVersion=None), "schemaVersion is None"),
        (edited(workflow=3), "the key 'workflow'"),
        (without_runtime(), "task 'sort_ID02' has no runtime"),
        (workflow([CLEAN, SORT, PLOT], FILES, seconds=-1), "'clean_ID01': runtimeInSeconds"),
        (workflow([LOOP, SORT, PLOT], FILES), "cycle: "),
        (workflow([CLEAN, CLEAN, SORT, PLOT], FILES), "two have the id 'clean_ID01'"),
        (workflow([SORT, PLOT], FILES), "its parent 'clean_ID01' is no task"),
        (workflow([CLEAN, SORT, PLOT], {"raw": 1}), "'rows', which is not among the files"),
        (workflow([CLEAN], FILES), "called 'sort'; there are clean (1)"),
    ],
)
def test_a_workflow_that_cannot_be_used_is_named_with_its_file(written, document, said):
    path = written(document)
    with pytest.raises(InvalidProblem) as caught:
        load(path, vary="sort")
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(not WORKFLOWS, reason="the recorded workflows are not beside the checkout")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_recorded_workflows_are_planned_no_worse_than_by_any_rule(path):
    for vary in list(classes(path))[::3]:
        problem = load(path, vary)
        stages = two_stages(problem)
        naive = int(stages.rest_bytes[stages.need & ~stages.free].sum())
        capped = problem.with_budget(Budget(rest=naive // 5))
        found = solve(capped)
        assert found.status is Status.OPTIMAL
        assert evaluate(capped, found).crossing_bytes <= naive // 5
        assert found.seconds == pytest.approx(keeping(capped, dict(found.kept)).seconds)
        for rule in RULES:
            if rule != "keep_read":
                assert found.seconds <= solve(capped, rule).seconds * (1 + 1e-9)


def recorded(seconds):
    """A script whose calls take the seconds that are given, one by one."""
    now = [0.0]
    spans = iter(seconds)

    def clock():
        now[0] += next(spans)
        return now[0]

    return Memo(clock=clock)


def test_functions_that_ran_once_say_which_results_to_cache():
    # the clock is asked before and after each call: nothing passes between calls
    memo = recorded([0, 30, 0, 20, 0, 5, 0, 1])

    @memo.source
    def fetch(n):
        return np.arange(n)

    @memo.task
    def features(rows):
        return {"a": rows * 2.0, "b": [rows + 1]}

    @memo.task
    def small(table):
        return table["a"][:10].copy()

    @memo.task
    def report(part, table, title):
        return f"{title} {part.sum()} {table['b'][0].sum()}"

    table = features(fetch(1000))
    assert report(small(table), table, "t") == "t 90.0 500500"
    plan = memo.plan(varies=["report"], disk="1MB", calls=20)
    assert plan.keep == ("features#0", "small#0")
    assert plan.functions == ("features", "small")
    assert plan.decision.seconds == pytest.approx(55 + 20 * 1)
    assert json.loads(plan.to_json()) == {
        "keep": ["features#0", "small#0"],
        "temporary": ["fetch#0"],
    }
    # less disk: the source must be kept, because it is not fetched again
    tight = memo.plan(varies=["report"], disk=8200, calls=20)
    assert tight.keep == ("fetch#0", "small#0")
    assert "report" in str(list(tight.problem.graph))
    with pytest.raises(InvalidProblem, match="recorded were: fetch, features, small, report"):
        memo.plan(varies=["nothing"])


def test_all_results_of_a_function_are_cached_or_none():
    memo = recorded([0, 10, 0, 10, 0, 1])

    @memo.task
    def simulate(n):
        return np.full(100, float(n))

    @memo.task
    def compare(one, two):
        return [float((one - two).sum())]

    compare(simulate(1), simulate(2))
    assert memo.plan(varies=["compare"], disk=900).keep == ("simulate#0",)
    assert memo.plan(varies=["compare"], disk=900, by_function=True).keep == ()
    both = memo.plan(varies=["compare"], disk=1600, by_function=True)
    assert both.keep == ("simulate#0", "simulate#1")
    assert problem_to_json(problem_from_json(problem_to_json(both.problem)))


def centring(rows=4000):
    array = pytest.importorskip("dask.array", reason="Dask is an optional extra")
    source = array.random.RandomState(0).normal(10, 1, size=(rows, 4), chunks=(rows // 4, 4))
    centred = source - source.mean(axis=0)
    return centred, abs(centred)


def test_dask_persists_exactly_the_chunks_of_the_plan():
    centred, late = centring()
    from policies.adapters.dask_graph import Profile, apply, measure, problem

    query = (late > 1.5).sum()
    profile = measure(query, repeats=1)
    steady = Profile(dict.fromkeys(profile.seconds, 1.0), profile.bytes)
    whole = problem([query], [late.name], steady, calls=5)
    sizes = [32_000 * n + 100 for n in range(5)]
    seconds = []
    for chunks, size in enumerate(sizes):
        plan = solve(whole.with_budget(Budget(rest=size)))
        assert sum(key[0] == centred.name for key in plan.kept) == chunks
        (held,) = apply(plan, [centred])
        assert held.name == centred.name
        graph = dict(held.__dask_graph__())
        data = {k for k, v in graph.items() if isinstance(v, np.ndarray)}
        assert data <= set(plan.kept)
        assert {key for key in plan.kept if key[0] == centred.name} <= data
        again = (abs(held) > 1.5).sum()
        assert again.compute(scheduler="synchronous") == query.compute(scheduler="synchronous")
        seconds.append(plan.seconds)
    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) == 5


def test_dask_says_what_is_wrong():
    _, late = centring()
    import dask.array

    from policies.adapters.dask_graph import Profile, apply, measure, problem

    query = late.sum()
    with pytest.raises(InvalidProblem, match="was not measured"):
        problem([query], [late.name], Profile({}, {}))
    profile = measure(query, repeats=1)
    with pytest.raises(InvalidProblem, match="no key or layer is called 'nothing'"):
        problem([query], ["nothing"], profile)
    plan = solve(problem([query], [late.name], profile))
    with pytest.raises(InvalidDecision, match="no collection given has it"):
        apply(plan, [dask.array.ones(3)])
