"""The commands of this package: found by their entry points, with schemas for editors."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from experiments import cli
from experiments.json_schema import schema_text
from experiments.points.registry import KINDS
from experiments.sweep.expand import load_experiment
from experiments.sweep.tasks import checked

ROOT = Path(__file__).parents[2]


def test_every_entry_point_is_a_function():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = project["entry-points"]["ckpt.commands"]
    assert {"run", "sweep", "report", "export", "schema"} <= set(commands)
    for value in commands.values():
        module, _, name = value.partition(":")
        assert getattr(import_module(module), name).__doc__


@pytest.mark.parametrize("what", ["experiment", "job", "model"])
def test_schemas_are_json_and_whole(what, capsys):
    assert cli.schema(what) == 0
    schema = json.loads(capsys.readouterr().out)
    names = set(schema["$defs"])

    def references(part):
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for below in part.values():
                yield from references(below)
        elif isinstance(part, list):
            for below in part:
                yield from references(below)

    used = list(references(schema))
    assert used
    for reference in used:
        assert reference.removeprefix("#/$defs/") in names


def test_the_schema_of_an_experiment_knows_every_kind_and_key():
    schema = json.loads(schema_text("experiment"))
    by_title = {one["title"]: one for one in schema["oneOf"]}
    assert set(by_title) == {kind.__name__ for kind in KINDS}
    for kind in KINDS:
        keys = by_title[kind.__name__]["properties"]
        assert set(kind.model_fields) <= set(keys)
        assert {"name", "question", "sweep", "exclude", "points", "ref"} <= set(keys)
        assert keys["kind"]["const"] == kind.model_fields["kind"].default


def test_the_example_of_the_guide_is_an_experiment(tmp_path):
    text = (ROOT / "experiments/README.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    path = tmp_path / "frontier.yaml"
    path.write_text(example.replace("../models", str(ROOT / "configs/models")))
    assert len(checked(list(load_experiment(path).points()))) == 6


def test_reading_a_finished_sweep_loads_nothing_heavy():
    code = (
        "import sys, experiments.sweep.run, experiments.sweep.store\n"
        "print([m for m in ('numpy', 'numba', 'networkx', 'policies') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
