"""A job end to end, in a form that takes seconds, and what is left when it stops half-way."""

import json
from io import StringIO

import pytest
from rich.console import Console

from ckpt import BudgetError, Plan
from experiments import run as run_module
from experiments.data import DataError
from experiments.folder import FolderError
from experiments.result import Result
from experiments.run import JobError, run_job
from experiments.schema import load_job

JOB = """\
name: small
question: Does the machinery run?
model: {model: mlp, hidden: [16, 16, 16], activation: relu, batch: 256}
data: digits
training:
  steps: 4
  optimizer: {name: adam, rate: 0.01}
budget: 0.8x
work: 500
seed: 3
repeat: 2
"""

FILES = ["loss.png", "memory.png", "plan.json", "result.json"]


def written(folder, text=JOB):
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def quiet():
    return Console(file=StringIO(), width=120)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run folder of the job, and what was printed."""
    folder = tmp_path_factory.mktemp("job")
    console = quiet()
    assert run_job(written(folder), folder / "runs/out", console) == 0
    return folder / "runs/out", console.file.getvalue()


def test_all_files_are_there(finished):
    folder, _ = finished
    assert sorted(p.name for p in folder.iterdir()) == FILES
    assert [p.name for p in folder.parent.iterdir()] == ["out"]
    for name in ("loss.png", "memory.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_result_keeps_the_promise(finished):
    folder, _ = finished
    result = Result.model_validate_json((folder / "result.json").read_text())
    assert result.measured_peak_bytes <= result.planned_peak_bytes <= result.budget_bytes
    assert result.budget_bytes <= 0.8 * result.save_all_peak_bytes
    least = result.smallest_feasible_bytes
    assert result.smallest_feasible_lower_bound_bytes <= least <= result.planned_peak_bytes
    assert result.gradient_measured_peak_bytes <= result.gradient_budget_bytes
    assert result.beyond_inputs_bytes == result.arena_bytes + result.output_bytes
    assert result.gradient_identical_to_save_all
    assert result.step_identical_to_save_all
    assert 0 <= result.test_accuracy <= 1
    assert len(result.losses) == 4
    assert result.losses[-1] < result.losses[0]
    assert result.seeds["parameters"] == 3
    assert "numpy" in result.versions


def test_the_plan_is_the_one_that_ran(finished):
    folder, _ = finished
    result = json.loads((folder / "result.json").read_text())
    plan = Plan.load(folder / "plan.json")
    assert plan.peak_bytes == result["planned_peak_bytes"]
    assert plan.budget_bytes == result["budget_bytes"]


def test_what_is_printed(finished):
    _, text = finished
    for said in ("Does the machinery run?", "step     1  loss", "budget", "accuracy", "recompute"):
        assert said in text


def test_a_second_run_gives_the_same_numbers(finished, tmp_path):
    folder, _ = finished
    run_job(written(tmp_path), tmp_path / "again", quiet())
    first, second = (
        Result.model_validate_json((f / "result.json").read_text())
        for f in (folder, tmp_path / "again")
    )
    assert first.losses == second.losses
    assert first.test_accuracy == second.test_accuracy
    assert first.planned_peak_bytes == second.planned_peak_bytes


def test_an_accuracy_that_is_not_reached_fails_but_is_written(tmp_path):
    text = JOB.replace("  steps: 4\n", "  steps: 1\n  accuracy: 1.0\n")
    console = quiet()
    assert run_job(written(tmp_path, text), tmp_path / "out", console) == 1
    assert "below 100.0%" in console.file.getvalue()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == FILES


class Interrupting(StringIO):
    """A terminal at which somebody presses Ctrl-C when they read a word."""

    def __init__(self, word):
        super().__init__()
        self.word = word

    def write(self, text):
        if self.word in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.mark.parametrize("word", ["smallest feasible", "step     2", "on the test split"])
def test_an_interrupted_run_leaves_nothing(tmp_path, word):
    path = written(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_job(path, tmp_path / "out", Console(file=Interrupting(word), width=120))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("function", ["draw_memory", "draw_loss"])
def test_an_interruption_while_writing_leaves_nothing(tmp_path, monkeypatch, function):
    def interrupt(*args):
        args[-1].write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, function, interrupt)
    path = written(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_job(path, tmp_path / "out", quiet())
    assert list(tmp_path.iterdir()) == [path]


def test_random_data_have_no_accuracy(tmp_path):
    text = JOB.replace("data: digits", "data: random").replace(
        "{model: mlp, hidden: [16, 16, 16], activation: relu, batch: 256}",
        "{model: heat, size: 8, steps: 12}",
    )
    assert run_job(written(tmp_path, text), tmp_path / "out", quiet()) == 0
    result = Result.model_validate_json((tmp_path / "out/result.json").read_text())
    assert result.test_accuracy is None
    assert result.losses[-1] < result.losses[0]


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("data: digits", "data: digits", FolderError, "exists already"),
        ("budget: 0.8x", "budget: 1kB", BudgetError, "no plan fits"),
        ("batch: 256", "batch: 2000", DataError, "more than the 1437"),
        ("batch: 256", "batch: 256, features: 65", DataError, "8 x 8 = 64 pixels"),
        ("batch: 256", "batch: 256, classes: 9", DataError, "ten digits"),
        ("model: mlp, hidden: [16, 16, 16], activation: relu", "model: gpt", DataError, "random"),
        ("digits\ntraining:", "random\ntraining:\n  accuracy: 0.5", JobError, "no test split"),
    ],
)
def test_what_cannot_be_run(tmp_path, old, new, error, said):
    assert old in JOB
    path = written(tmp_path, JOB.replace(old, new))
    load_job(path)
    out = tmp_path / "out"
    if error is FolderError:
        out.mkdir()
        (out / "kept").write_text("kept")
    with pytest.raises(error, match=said):
        run_job(path, out, quiet())
    assert out.exists() == (error is FolderError)
