"""`ckpt frontier`."""

import importlib.util
import io
import json
from contextlib import redirect_stdout

import pytest

from ckpt.cli.app import run


@pytest.fixture(scope="module")
def found(tmp_path_factory, program_text):
    file = tmp_path_factory.mktemp("frontier") / "f.ir"
    file.write_text(program_text)
    out = io.StringIO()
    with redirect_stdout(out):
        options = ["--points", "4", "--policies", "save_all,sqrt", "--json", "--work", "500"]
        assert run(["frontier", str(file), *options]) == 0
    return json.loads(out.getvalue())


def test_points_keep_their_budgets_and_bounds(found):
    for p in found["points"]:
        if p["budget_bytes"] is not None:
            assert p["peak_bytes"] <= p["budget_bytes"]
        assert p["bound_seconds"] <= p["seconds"] * (1 + 1e-9)


def test_the_range_is_from_the_smallest_feasible_to_the_save_all_peak(found):
    budgets = [p["budget_bytes"] for p in found["points"] if p["policy"] == "auto"]
    assert budgets[0] == found["smallest_bytes"]
    assert budgets[-1] == found["save_all_bytes"]
    assert found["floor_bytes"] <= found["smallest_bytes"]
    assert found["points"][-1]["seconds"] <= found["points"][0]["seconds"] * 10


def test_less_memory_never_takes_a_smaller_bound(found):
    bounds = [p["bound_seconds"] for p in found["points"] if p["policy"] == "auto"]
    assert bounds == sorted(bounds, reverse=True)


def test_a_policy_that_gives_one_plan_again_stands_once(found):
    kept = [(p["policy"], p["peak_bytes"], p["seconds"]) for p in found["points"]]
    others = [k for k in kept if k[0] != "auto"]
    assert len(others) == len(set(others))


def test_the_table_and_the_picture(ckpt_, net, tmp_path):
    file = tmp_path / "frontier.png"
    code, out, _ = ckpt_(
        "frontier",
        net,
        "--budgets",
        "1x,0.7x,1KiB",
        "--policies",
        "greedy",
        "--out",
        file,
        "--work",
        "500",
    )
    assert code == 0
    assert "auto has no plan within 1.0 KiB" in out
    assert "smallest feasible budget known" in out
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_graph_file_is_handed_over(ckpt_, program, tmp_path):
    graph = tmp_path / "graph.json"
    assert ckpt_("inspect", program, "--at", "graph", "--out", graph).code == 0
    code, out, _ = ckpt_("frontier", graph, "--points", "2", "--json", "--work", "500")
    assert code == 0
    assert len(json.loads(out)) >= 1


def test_a_graph_file_takes_the_options_of_the_planner(ckpt_, program, tmp_path):
    graph = tmp_path / "graph.json"
    assert ckpt_("inspect", program, "--at", "graph", "--out", graph).code == 0
    options = ["--points", "1", "--lowest", "0.9", "--link", "1GB/s+1us", "--seed", "1", "--json"]
    code, out, _ = ckpt_("frontier", graph, *options)
    assert code == 0
    assert len(json.loads(out)) == 1
    code, _, err = ckpt_("frontier", graph, "--link", "fast")
    assert code == 2
    assert "not a rate" in err


def test_without_matplotlib_nothing_is_planned_in_vain(ckpt_, net, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "ckpt.inspect.figure.find_spec", lambda name: None if name == "matplotlib" else real(name)
    )
    code, _, err = ckpt_("frontier", net, "--out", tmp_path / "f.png")
    assert code == 1
    assert err.startswith("DrawingError: drawing needs matplotlib")
    assert "pip install 'ckpt-compiler[plots]'" in err


def test_a_picture_has_the_ending_of_one(ckpt_, net, tmp_path):
    code, _, err = ckpt_("frontier", net, "--out", tmp_path / "f.doc")
    assert code == 1
    assert "f.doc: a picture ends in .png, .svg, .pdf" in err
