"""The promise benchmark on a small model, and the high-water mark of a fresh process."""

import json
import subprocess
import sys

import numpy as np
import pytest

import ckpt
from experiments.models.registry import MODELS
from experiments.promise_benchmark import benchmark
from experiments.schema import load_model

SMALL = "model: mlp\nfeatures: 64\nhidden: [64, 64, 64, 64]\nbatch: 4096\n"

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the process's status in /proc")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@linux
def test_the_high_water_mark_sees_the_arena_and_the_outputs(config, tmp_path):
    read = load_model(config)
    model = MODELS[read.model]
    plan = ckpt.value_and_grad(model.make_loss(read), policy="save_all").plan_for(
        *model.specs(read)
    )
    (tmp_path / "plan.json").write_text(plan.to_json())
    command = [sys.executable, "-m", "experiments.high_water", config, tmp_path / "plan.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["planned_bytes"] == plan.beyond_inputs_bytes > 4 << 20
    # pages that no step touches are not seen; Python's own objects are, and take well under 1 MiB
    assert 0.8 * seen["planned_bytes"] < seen["measured_bytes"] < seen["planned_bytes"] + (1 << 20)


@linux
def test_every_row_keeps_the_promise(config, tmp_path, capsys):
    out = tmp_path / "promise.json"
    assert benchmark(config, out=out, repeat=1, work=500) == 0
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 4
    for row in rows:
        assert row["kept"]
        assert row["planned_bytes"] <= row["budget_bytes"]
        assert row["measured_bytes"] <= row["planned_bytes"]
        assert row["arena_bytes"] < row["planned_bytes"]
        assert np.isfinite(row["measured_overhead"])
        assert row["gradient_identical"]
    assert rows[-1]["asked"] == "floor"
    assert rows[-1]["budget_bytes"] <= min(row["budget_bytes"] for row in rows)
    assert "identical" in capsys.readouterr().out
