"""Configurations: everything that is wrong is said with file, line and key."""

from pathlib import Path

import pytest

from ckpt import Budget
from experiments.models.load import load as load_for_planning
from experiments.models.registry import MODELS
from experiments.schema import BudgetConfig, load_job, load_model
from experiments.source import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"

GOOD = """\
name: tiny
question: Does it run?
model: {model: mlp, hidden: [8], batch: 32}
data: digits
training:
  steps: 2
  optimizer: {name: sgd, rate: 1e-2}
budget:
  fraction: 0.5
"""


def job(folder, text):
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def test_a_good_job(tmp_path):
    read = load_job(job(tmp_path, GOOD))
    assert read.model.hidden == [8]
    assert read.training.optimizer.rate == 0.01
    assert read.budget.fraction == 0.5
    assert read.policy == "auto"


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ("budget: 64MiB\n", "bytes", 64 << 20),
        ("budget: 1000\n", "bytes", 1000),
        ("budget: 0.4x\n", "fraction", 0.4),
        ("budget: {overhead: 0.1, reserve: 1.5GiB}\n", "reserve", 3 << 29),
    ],
)
def test_budgets_as_people_write_them(tmp_path, given, field, value):
    text = GOOD.replace("budget:\n  fraction: 0.5\n", given)
    assert getattr(load_job(job(tmp_path, text)).budget, field) == value


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ({"bytes": "1kB"}, Budget(bytes=1000)),
        ({"fraction": 0.4}, Budget(bytes=404)),
        ({"fraction": 0.4, "reserve": 100}, Budget(bytes=444, reserve=100)),
        ({"overhead": 0.1}, Budget(overhead=0.1)),
    ],
)
def test_a_fraction_is_of_everything_alive_and_rounded_down(given, budget):
    assert BudgetConfig.model_validate(given).budget(1011) == budget


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "said"),
    [
        ("data: digits", "data: digits\ncolour: red", 5, "colour", "unknown key"),
        ("  steps: 2", "  steps: 2\n  stpes: 2", 7, "training.stpes", "did you mean 'steps'?"),
        ("hidden: [8]", "hiden: [8]", 3, "model.hiden", "did you mean 'hidden'?"),
        ("rate: 1e-2", "rat: 1e-2", 7, "training.optimizer.rat", "did you mean 'rate'?"),
        ("  fraction: 0.5", "  bytes: 10 XB", 9, "budget.bytes", "unknown unit 'XB'"),
        ("budget:\n  fraction: 0.5", "budget: 10 XB", 8, "budget", "unknown unit 'XB'"),
        ("  fraction: 0.5", "  fraction: 0.5\n  bytes: 1MB", 8, "budget", "exactly one"),
        ("  fraction: 0.5", "  reserve: 1MB", 8, "budget", "exactly one"),
        ("  fraction: 0.5", "  fraction: much", 9, "budget.fraction", "'much'"),
        ("  steps: 2\n", "", 5, "training", "'steps' is missing"),
        ("question: Does it run?\n", "", 1, "", "'question' is missing"),
        ("model: mlp", "model: mpl", 3, "model", "'mpl'"),
        ("name: sgd", "name: adams", 7, "training.optimizer", "'adams'"),
        ("hidden: [8]", "hidden: [8, -1]", 3, "model.hidden.1", "greater than 0"),
        ("name: tiny", "name: ../tiny", 1, "name", "'../tiny'"),
        ("data: digits", "data: faces", 4, "data", "'faces'"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path, old, new, line, key, said):
    assert old in GOOD
    path = job(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_job(path)
    message = str(caught.value)
    assert f"{path}:{line}: {f'{key}: ' if key else ''}" in message
    assert said in message


def test_every_problem_is_said_at_once(tmp_path):
    text = GOOD.replace("steps: 2", "steps: 0").replace("data: digits", "data: faces")
    with pytest.raises(ConfigError) as caught:
        load_job(job(tmp_path, text))
    assert len(caught.value.problems) == 2


def test_an_error_in_a_file_that_is_referred_to_names_that_file(tmp_path):
    (tmp_path / "m.yaml").write_text("model: mlp\nbatch: many\n")
    path = job(tmp_path, GOOD.replace("{model: mlp, hidden: [8], batch: 32}", "{ref: m.yaml}"))
    with pytest.raises(ConfigError) as caught:
        load_job(path)
    assert str(caught.value).startswith(f"{tmp_path / 'm.yaml'}:2: model.batch: ")


@pytest.mark.parametrize("text", ["", "- 1\n", "just text\n"])
def test_what_is_no_mapping(tmp_path, text):
    with pytest.raises(ConfigError, match=r"job\.yaml:1: "):
        load_job(job(tmp_path, text))


@pytest.mark.parametrize("path", sorted((CONFIGS / "models").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_model_configurations(path):
    config = load_model(path)
    assert config.model in MODELS


def test_every_model_has_a_configuration():
    read = {load_model(path).model for path in (CONFIGS / "models").glob("*.yaml")}
    assert read == set(MODELS)


def test_gpt2_has_its_124_million_parameters():
    loss, args = load_for_planning(CONFIGS / "models/gpt2_124m.yaml", {})
    import optree

    sizes = [s.type.size for s in optree.tree_leaves(args[0])]
    assert sum(sizes) == 124_439_808
    assert callable(loss)


def test_changes_replace_keys_and_are_checked(tmp_path):
    path = CONFIGS / "models/gpt.yaml"
    _, args = load_for_planning(path, {"batch": 3})
    assert args[1].shape == (3, 64)
    with pytest.raises(ConfigError, match=r"gpt.yaml:1: bacth: unknown key: did you mean 'batch'"):
        load_for_planning(path, {"bacth": 3})


def test_a_job_is_a_model_too():
    assert load_model(CONFIGS / "quickstart.yaml") == load_job(CONFIGS / "quickstart.yaml").model
