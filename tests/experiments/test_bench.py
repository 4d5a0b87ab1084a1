"""The benchmark at small sizes: all agree on the gradients, memory is counted, and it is shown."""

import json
from dataclasses import replace

import pytest

from experiments.bench import command, suite, worker
from experiments.bench.contest import contest
from experiments.bench.contestants import Jax, Ours
from experiments.bench.report import plot, table_of
from experiments.models import gaussian_process, gpt, heat, lstm, mlp, resnet, small, unet

SMALL = {
    "gpt": gpt.Config(dtype="float64"),
    "gaussian_process": gaussian_process.Config(dtype="float64"),
    "heat": heat.Config(dtype="float64", batch=1),
    "lstm": lstm.Config(dtype="float64"),
    "mlp": mlp.Config(dtype="float64", activation="relu"),
    "resnet": resnet.Config(dtype="float64"),
    "small": small.Config(dtype="float64"),
    "unet": unet.Config(dtype="float64", channels=3),
}


LONG = ("gpt", "lstm", "resnet", "unet")
"""What JAX compiles for half a minute on a busy machine."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long) if n in LONG else n for n in SMALL]
)
def test_jax_makes_our_gradients(name):
    workload = suite.Workload(SMALL[name])
    found = {"ours": Ours(workload, 1), "jax": Jax(workload, 1)}
    for one in found.values():
        one.run(1)
    scores = contest(found, repeat=1)
    assert scores["jax"].error < (1e-6 if name == "gpt" else 1e-10)  # JAX's attention is in f32
    assert all(score.seconds > 0 for score in scores.values())


@pytest.mark.parametrize("name", SMALL)
def test_torch_makes_our_gradients(name):
    pytest.importorskip("torch")
    from experiments.bench.contestants import Torch

    workload = suite.Workload(replace_dtype(SMALL[name]))
    found = {"ours": Ours(workload, 1), "torch": Torch(workload, 1)}
    for one in found.values():
        one.run(1)
    assert contest(found, repeat=1)["torch"].error < 1e-4


def replace_dtype(config):
    """PyTorch draws its own helpers in f32 here, except where the suite asks for f64."""
    in_double = config.model in ("heat", "gaussian_process")
    return config if in_double else config.model_copy(update={"dtype": "float32"})


ROW = command.Row(
    name="mlp",
    seconds={"ours": 0.1, "jax": 0.2, "torch": 0.4},
    cpu_seconds={"ours": 0.1, "jax": 0.3, "torch": 0.2},
    errors={"ours": 0.0, "jax": 1e-7, "torch": 1e-7},
    tolerance=1e-3,
    bytes={"ours": 1 << 20, "jax": 4 << 20, "torch": 2 << 20},
    high_water_bytes={"ours": 1 << 20, "jax": 5 << 20, "torch": 2 << 20},
    arena_ratio=1.01,
    predicted_seconds=0.11,
    compile_seconds={"cold": 1.0, "warm": 0.1, "jax": 2.0},
)


def test_a_report_holds_ratios_means_and_whether_gradients_agree(tmp_path):
    wrong = replace(ROW, errors=ROW.errors | {"jax": 0.5}, seconds=ROW.seconds | {"jax": 0.8})
    found = json.loads(json.dumps(command.report([ROW, wrong], 2)))
    assert found["rows"][0]["ratios"] == {"jax": 2.0, "torch": 4.0}
    assert [row["agrees"] for row in found["rows"]] == [True, False]
    assert found["geometric_means"]["jax"] == pytest.approx(4.0)
    assert table_of([ROW, wrong], 2).row_count == 3
    plot([ROW, wrong], tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_memory_of_one_step_is_what_the_mark_shows(capsys):
    if not worker.__file__ or not command.os.path.exists("/proc/self/clear_refs"):
        pytest.skip("there is no high-water mark here")
    said = command._worker(("alone-ours", "small", "1"))
    assert said["arena_bytes"] == said["live_bytes"] > 0
    assert said["bytes"] <= said["high_water_bytes"] < said["bytes"] + (1 << 20)
    assert said["first_seconds"] > said["steady_seconds"] > 0


def test_an_unknown_workload_is_refused_with_their_names(tmp_path):
    with pytest.raises(command.BenchError, match=r"'gpt' is not a workload; they are mlp, gpt256"):
        command.run_bench(["gpt"], threads=1, repeat=1, compiled=False, as_json=True, out=tmp_path)


def test_a_measurement_that_fails_says_why():
    with pytest.raises(command.BenchError, match=r"contest nothing 1 failed: KeyError"):
        command._worker(("contest", "nothing", "1"))


def test_what_was_measured_is_kept_when_another_row_fails(tmp_path, monkeypatch):
    def measure(name, *_, **__):
        if name == "heat":
            raise command.BenchError("contest heat failed: too little memory")
        return replace(ROW, name=name)

    monkeypatch.setattr(command, "measure", measure)
    asked = {"threads": 1, "repeat": 1, "compiled": False, "as_json": True, "out": tmp_path}
    with pytest.raises(command.BenchError, match=r"other rows are in .*; heat: .* too little"):
        command.run_bench(["mlp", "heat", "gp"], **asked)
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["mlp", "gp"]
    with pytest.raises(command.BenchError, match="^heat: contest heat failed"):
        command.run_bench(["heat"], **asked)
