"""Finished points in MLflow stores on this machine."""

from io import StringIO

import pytest
from rich.console import Console

from experiments.sweep.run import Options, sweep
from experiments.sweep.store import RESULTS, read_records
from experiments.sweep.tracking import TrackingError, tracking

mlflow = pytest.importorskip("mlflow")

TEXT = """\
name: tracked
question: Why?
kind: plan
graph: {family: chain, length: 8}
work: 100
points:
  - {budget: 0.7x}
  - {graph: {family: file, file: missing.json}}
"""


@pytest.fixture(params=["file:{}/store", "sqlite:///{}/store.db"], ids=["file", "sqlite"])
def store(request, tmp_path):
    if request.param.startswith("sqlite"):
        pytest.importorskip("sqlalchemy")
        pytest.importorskip("alembic")
    return request.param.format(tmp_path)


@pytest.mark.filterwarnings("ignore")  # MLflow's own, about what it will drop
def test_every_point_is_a_run(tmp_path, store):
    (tmp_path / "one.yaml").write_text(TEXT)
    options = Options(out=tmp_path / "run", mlflow=store)
    code = sweep(tmp_path / "one.yaml", (), options, Console(file=StringIO()))
    assert code == 1
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("tracked")
    runs = client.search_runs([experiment.experiment_id])
    by_point = {run.data.tags["point"]: run for run in runs}
    records = list(read_records(tmp_path / "run" / RESULTS))
    assert {record["id"] for record in records} == set(by_point)
    for record in records:
        run = by_point[record["id"]]
        assert run.data.params["work"] == "100"
        assert run.data.tags["question"] == "Why?"
        if record["status"] == "ok":
            assert run.info.status == "FINISHED"
            overhead = record["result"]["overhead_percent"]
            assert run.data.metrics["overhead_percent"] == overhead
        else:
            assert run.info.status == "FAILED"
            assert "missing.json" in run.data.tags["error"]


def test_other_places_are_refused():
    with pytest.raises(TrackingError, match="no store on this machine"), tracking(None, "http://x"):
        pass
