"""The benchmark of sweeping: what it measures, on a sweep of a few points."""

import json

import pytest

from experiments.sweep.expand import load_experiment
from experiments.sweep.store import read_run
from experiments.sweep_benchmark import app, experiment_text, finish, measure


def test_it_has_so_many_small_points(tmp_path):
    config = tmp_path / "busy.yaml"
    config.write_text(experiment_text(7))
    assert load_experiment(config).n_points == 7


def test_a_finished_folder_has_every_point(tmp_path):
    config = tmp_path / "busy.yaml"
    config.write_text(experiment_text(5))
    finish(config, tmp_path / "run")
    experiment, records = read_run(tmp_path / "run")
    assert [record["id"] for record in records] == experiment["points"]
    assert len(records) == 5


def test_busy_seconds_are_those_of_a_process_that_computes():
    measured = measure(["python", "-c", "sum(range(5_000_000))"])
    assert measured.wall_seconds > 0
    assert measured.cpu_seconds > 0


def test_figures_of_a_few_points(tmp_path, capsys):
    file = tmp_path / "figures.json"
    with pytest.raises(SystemExit) as ended:
        app(["--points", "3", "--jobs", "1", "--json-out", str(file)])
    assert ended.value.code == 0
    found = json.loads(file.read_text())
    assert found["points"] == 3
    assert 0 < found["overhead_seconds_per_point"] < found["wall_seconds"]
    assert found["one_point_seconds"] > 0
    assert found["busy_percent"] > 0
    assert "resume_seconds" in capsys.readouterr().out
