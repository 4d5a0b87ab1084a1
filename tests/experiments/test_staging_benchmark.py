"""The benchmark of plans for two stages, on one small workflow and a small Dask array."""

import json
import time

import pytest

from experiments.staging_benchmark import COMPARED, cases, dask_queries, workflow_tables


def test_every_class_and_cap_of_a_workflow_is_a_case(tmp_path):
    tasks = [
        {"id": "clean_ID1", "name": "clean_ID1", "parents": [], "outputFiles": ["a", "b"]},
        {
            "id": "plot_ID2",
            "name": "plot_ID2",
            "parents": ["clean_ID1"],
            "inputFiles": ["a"],
            "outputFiles": [],
        },
    ]
    files = [{"id": "a", "sizeInBytes": 10}, {"id": "b", "sizeInBytes": 5}]
    runs = [{"id": task["id"], "runtimeInSeconds": 2.0} for task in tasks]
    parts = {"specification": {"tasks": tasks, "files": files}, "execution": {"tasks": runs}}
    (tmp_path / "w.json").write_text(json.dumps({"schemaVersion": "1.5", "workflow": parts}))
    found = list(cases(tmp_path, 20.0))
    assert [case.part for case in found] == [0.5, 0.2, 0.05]
    assert {case.vary for case in found} == {"plot"}
    for case in found:
        assert case.late_seconds == pytest.approx(40.0)
        assert (case.status, case.gap_percent) == ("optimal", 0.0)
        assert set(case.excess_percent) == set(COMPARED)
    assert [table.row_count for table in workflow_tables(found)] == [2, len(COMPARED)]


def test_the_dask_example_holds_more_chunks_with_more_memory():
    pytest.importorskip("dask.array", reason="Dask is an optional extra")
    found = dask_queries(4000, 4, 2, time.process_time, repeats=1)
    assert [one.held_chunks for one in found] == [1, 3, 4]
    assert all(one.held_bytes <= one.memory_bytes for one in found)
    assert all(one.measured_seconds > 0 for one in found)
