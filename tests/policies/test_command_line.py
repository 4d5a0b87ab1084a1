"""``solve`` from the command line, and the public instances against the independent checker."""

import json
import runpy
from pathlib import Path

import pytest

from policies import Choice, Infeasible, Limits
from policies.cli import main
from policies.evaluate import evaluate, save_all_peak
from policies.policy import policy_named
from policies.serialize import decision_from_json, read_problem

BENCH = Path(__file__).parents[3] / "shared" / "bench"
GRAPHS = sorted((BENCH / "graphs").glob("*.json"))
FIGURES = {
    "status", "peak", "budget", "overhead_percent", "bound_percent", "gap_points", "gap_percent",
    "bound_engine", "solve_seconds", "recomputations",
}  # fmt: skip

SMALL = {
    "nodes": [
        {"id": "a", "seconds": 1, "bytes": 4},
        {"id": "b", "seconds": 1, "bytes": 8},
        {"id": "c", "seconds": 1, "bytes": 1},
        {"id": "d", "seconds": 1, "bytes": 2},
    ],
    "links": [
        {"source": "a", "target": "b"},
        {"source": "b", "target": "c"},
        {"source": "a", "target": "d"},
        {"source": "c", "target": "d"},
    ],
    "graph": {"order": ["a", "b", "c", "d"]},
}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))
    return path


def test_solve_writes_what_it_says(small, tmp_path, capsys):
    out, schedule = tmp_path / "decision.json", tmp_path / "schedule.json"
    arguments = ["solve", str(small), "--budget", "12", "--policy", "exhaustive", "--json"]
    assert main([*arguments, "--out", str(out), "--schedule", str(schedule)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) >= FIGURES
    assert (figures["status"], figures["peak"], figures["recomputations"]) == ("optimal", 12, 1)
    assert json.loads(schedule.read_text()) == ["a", "b", "c", "a", "d"]
    decision = decision_from_json(out.read_text())
    assert evaluate(read_problem(small), decision).peak_bytes == figures["peak"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "decision.json", "schedule.json", "small.json",
    ]  # fmt: skip


def test_solve_says_infeasible_and_by_how_much(small, capsys):
    assert main(["solve", str(small), "--budget", "11", "--policy", "greedy", "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["status"] == "infeasible"
    assert figures["lower_bound_bytes"] == 12
    assert main(["solve", str(small), "--budget", "11", "--policy", "greedy"]) == 1
    assert "alive together at b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "10 XB"], "unknown unit 'XB'"),
        (["--budget", "soonx"], "not a budget"),
        (["--budget", "-1"], "not a number of bytes"),
        (["--budget", "nanx"], "not a budget"),
        (["--policy", "best"], "no policy 'best'"),
        (["--policy", "save_all", "--time-limit", "1 parsec"], "unknown unit"),
        (["--policy", "save_all", "--work=-1"], "limits must be zero or more"),
    ],
)
def test_wrong_words_are_named(small, capsys, arguments, said):
    assert main(["solve", str(small), *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.skipif(not GRAPHS, reason="the public benchmark is not beside the checkout")
@pytest.mark.filterwarnings("ignore:unclosed file", "ignore:Exception ignored in")  # the checker's
@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_public_instances_agree_with_the_independent_checker(path):
    checker = runpy.run_path(str(BENCH / "validate_schedule.py"))
    document, ids, seconds, sizes, reads, readers = checker["load_graph"](path)
    order = document["graph"].get("order") or checker["generations_order"](ids, reads, readers)
    problem = read_problem(path)
    assert list(problem.first_order) == order
    _, peak, once, _ = checker["simulate"]([("compute", v) for v in order], seconds, sizes, reads)
    assert save_all_peak(problem) == peak
    plans = 0
    for budget in ("1x", "0.9x", "0.8x", "0.6x"):
        for name in ("save_all", "recompute_all", "sqrt", "greedy", "knapsack"):
            try:
                plan = policy_named(name)(problem.with_budget(budget), limits=Limits())
            except Infeasible:
                continue
            ops = [("compute", v) for v in plan.order]
            errors, found, duration, where = checker["simulate"](ops, seconds, sizes, reads)
            assert not errors
            assert found == plan.peak_bytes <= plan.budget_bytes
            assert evaluate(problem, plan).argmax == where
            assert duration == pytest.approx(plan.seconds, rel=1e-12)
            assert plan.baseline_seconds == pytest.approx(once, rel=1e-12)
            plans += 1
    assert plans >= 2


@pytest.mark.skipif(not GRAPHS, reason="the public benchmark is not beside the checkout")
def test_one_instance_is_proved_infeasible():
    path = BENCH / "graphs" / "VGG16_train.json"
    with pytest.raises(Infeasible) as caught:
        policy_named("greedy")(read_problem(path, budget="0.8x"), limits=Limits())
    assert caught.value.proved
    assert sum(size for _, size in caught.value.witness) == caught.value.lower_bound_bytes


STAGES = {
    "nodes": [
        {"id": "data", "seconds": 1, "bytes": 1000, "effects": True, "at_hand": True},
        {"id": "factor", "seconds": 9, "bytes": 800},
        {"id": "alpha", "seconds": 2, "bytes": 16},
        {"id": "mean", "seconds": 0.5, "bytes": 1, "stage": "unknown"},
        {"id": "variance", "seconds": 0.5, "bytes": 1, "stage": "unknown"},
    ],
    "links": [
        {"source": "data", "target": "factor"},
        {"source": "factor", "target": "alpha"},
        {"source": "alpha", "target": "mean"},
        {"source": "factor", "target": "variance"},
    ],
}


def test_solve_says_what_to_keep_between_two_stages(tmp_path, capsys):
    path, out = tmp_path / "stages.json", tmp_path / "decision.json"
    path.write_text(json.dumps(STAGES))
    options = ["--calls", "100", "--rest", "500B", "--link", "1kB/s+10ms", "--json"]
    assert main(["solve", str(path), *options, "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "optimal"
    assert [one["values"] for one in found["kept"]] == [["alpha"]]
    assert found["seconds"] == pytest.approx(12 + 0.026 + 100 * (1 + 9))
    assert found["next_saves_seconds"] == [pytest.approx(900 - 0.81)] * 2
    assert dict(decision_from_json(out.read_text()).kept) == {"alpha": Choice.SAVE}
    assert main(["solve", str(path), "--calls", "100", "--rest", "64MB"]) == 0
    table = capsys.readouterr().out
    assert "2 of 2 values are kept" in table
    assert "█" in table


def test_solve_says_what_is_wrong_with_two_stages(tmp_path, capsys):
    path = tmp_path / "stages.json"
    path.write_text(json.dumps(STAGES))
    for options, said in (
        (["--calls", "nan"], "calls must be positive"),
        (["--link", "fast"], "not a rate"),
        (["--rest", "10 XB"], "unknown unit"),
        (["--calls", "2", "--budget", "0.5x"], "give the budget in bytes"),
    ):
        assert main(["solve", str(path), *options]) == 2
        assert said in capsys.readouterr().err
