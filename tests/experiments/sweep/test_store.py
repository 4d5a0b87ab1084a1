"""The run folder: nothing half-written, nothing lost, one sweep at a time."""

import json
import os
import resource
import signal

import pytest

from experiments.folder import FolderError
from experiments.sweep.expand import load_experiment
from experiments.sweep.store import EXPERIMENT, RESULTS, open_store, read_run

TEXT = "name: one\nquestion: Why?\nkind: plan\nsweep: {seed: [1, 2, 3]}\n"


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(TEXT)
    return load_experiment(path)


def record(point, **more):
    return {"id": point.id, "status": "ok", "config": point.config, "result": {}, **more}


def fill(folder, experiment, count):
    points = list(experiment.points())[:count]
    with open_store(folder, experiment) as store:
        for point in points:
            store.append(record(point))
    return points


def test_what_was_written_is_read(tmp_path, experiment):
    points = fill(tmp_path / "run", experiment, 2)
    with open_store(tmp_path / "run", experiment) as store:
        assert list(store.records) == [point.id for point in points]
    _, records = read_run(tmp_path / "run")
    assert [one["config"]["seed"] for one in records] == [1, 2]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_cut_off_is_a_point_that_did_not_finish(tmp_path, experiment, cut):
    points = fill(tmp_path / "run", experiment, 2)
    path = tmp_path / "run" / RESULTS
    path.write_bytes(path.read_bytes()[:-cut])
    with open_store(tmp_path / "run", experiment) as store:
        assert list(store.records) == [points[0].id]
        store.append(record(points[1]))
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [
        point.id for point in points
    ]


def test_a_later_line_replaces_an_earlier(tmp_path, experiment):
    (point,) = fill(tmp_path / "run", experiment, 1)
    with open_store(tmp_path / "run", experiment) as store:
        store.append(record(point, result={"again": True}))
    _, records = read_run(tmp_path / "run")
    assert [one["result"] for one in records] == [{"again": True}]


def test_two_sweeps_in_one_folder_at_once(tmp_path, experiment):
    said = f"another sweep .process {os.getpid()}. is at work"
    with (
        open_store(tmp_path / "run", experiment),
        pytest.raises(FolderError, match=said),
        open_store(tmp_path / "run", experiment),
    ):
        pass
    with open_store(tmp_path / "run", experiment):
        pass


def test_another_experiment_in_the_folder(tmp_path, experiment):
    fill(tmp_path / "run", experiment, 1)
    other = tmp_path / "two.yaml"
    other.write_text(TEXT.replace("one", "two"))
    with (
        pytest.raises(FolderError, match="holds the experiment 'one', not 'two'"),
        open_store(tmp_path / "run", load_experiment(other)),
    ):
        pass
    assert len(read_run(tmp_path / "run")[1]) == 1


def test_an_experiment_that_grew_keeps_its_points(tmp_path, experiment):
    fill(tmp_path / "run", experiment, 3)
    path = tmp_path / "one.yaml"
    fill(tmp_path / "run", load_experiment(path, ["seed=[3, 4]"]), 2)
    _, records = read_run(tmp_path / "run")
    assert [one["config"]["seed"] for one in records] == [1, 2, 3, 4]


def test_a_folder_of_something_else(tmp_path, experiment):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kept").write_text("kept")
    with (
        pytest.raises(FolderError, match="is not the run folder of a sweep"),
        open_store(tmp_path / "mine", experiment),
    ):
        pass
    assert (tmp_path / "mine/kept").read_text() == "kept"


def test_a_file_where_the_folder_should_be(tmp_path, experiment):
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(FolderError, match="cannot be written"),
        open_store(tmp_path / "run", experiment),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder(tmp_path, experiment):
    (tmp_path / "run").mkdir(mode=0o500)
    with (
        pytest.raises(FolderError, match="cannot be written: Permission denied"),
        open_store(tmp_path / "run", experiment),
    ):
        pass


def test_a_folder_that_refuses(tmp_path, experiment, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(FolderError, match="run cannot be written: Permission denied"),
        open_store(tmp_path / "run", experiment),
    ):
        pass


@pytest.mark.parametrize("line", ["not json\n", "[]\n", '{"id": "a"}\n'])
def test_a_damaged_line_is_named(tmp_path, experiment, line):
    fill(tmp_path / "run", experiment, 1)
    path = tmp_path / "run" / RESULTS
    path.write_text(line + path.read_text())
    with (
        pytest.raises(FolderError, match=r"results.jsonl:1: not a result"),
        open_store(tmp_path / "run", experiment),
    ):
        pass
    assert len(path.read_text().splitlines()) == 2


def test_a_damaged_description_is_named(tmp_path, experiment):
    fill(tmp_path / "run", experiment, 1)
    (tmp_path / "run" / EXPERIMENT).write_text("{")
    with pytest.raises(FolderError, match=r"experiment.json is damaged"):
        read_run(tmp_path / "run")


def test_a_full_disk_loses_nothing(tmp_path, experiment):
    """A limit on the size of files makes writes end half-way, as a full disk does."""
    points = fill(tmp_path / "run", experiment, 2)
    path = tmp_path / "run" / RESULTS
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_store(tmp_path / "run", experiment) as store:
        try:
            for room in (0, 10):
                resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
                with pytest.raises(FolderError, match="2 finished points are kept: make room"):
                    store.append(record(points[0], result={"long": "x" * 1000}))
                assert path.read_bytes() == before
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        store.append(record(points[0]))
    assert path.read_bytes().startswith(before)
