"""The benchmark of loops on a small grid: counts, bytes and gradients are right."""

import json
from importlib.util import find_spec

import pytest

from experiments.loops_benchmark import benchmark
from policies.loops.binomial import forward_steps


def test_rows_say_what_a_loop_costs(tmp_path, capsys):
    out = tmp_path / "loops.json"
    assert benchmark(size=8, steps=27, slots=[3, 9], repeat=1, out=out) == 0
    rows = json.loads(out.read_text())["rows"]
    ours = [row for row in rows if row["system"].startswith("ckpt")]
    assert [row["evaluations"] for row in ours] == [
        forward_steps(27, slots) + 1 for slots in (3, 9)
    ]
    assert all(0 <= row["planned_bytes"] - row["beyond_bytes"] < 64 for row in ours)
    assert all(row["error"] < 1e-12 for row in rows)
    assert "3 slots" in capsys.readouterr().out
    assert all(row["ideal_seconds"] > 0 for row in ours)
    for slots in (3, 9) if find_spec("checkpoint_schedules") else ():
        (row,) = (r for r in rows if r["system"] == f"checkpoint_schedules, {slots} slots")
        assert row["evaluations"] == forward_steps(27, slots) + 27


def test_memory_does_not_depend_on_the_number_of_steps(tmp_path):
    out, rows = tmp_path / "loops.json", []
    for steps in (30, 300):
        sizes = {"size": 128, "steps": steps, "slots": [10], "repeat": 1}
        assert benchmark(**sizes, only="ckpt", out=out) == 0
        rows += json.loads(out.read_text())["rows"]
    few, many = rows
    assert few["planned_bytes"] == many["planned_bytes"]
    if few["rise_bytes"] is not None:
        state = 2 * 8 * 128 * 128
        for row in rows:  # what is touched, results, and pages of Python's own
            assert row["beyond_bytes"] <= row["rise_bytes"] <= row["beyond_bytes"] + 3 * state


@pytest.mark.parametrize("only", ["revolve", "ckpt,", ""])
def test_sides_that_are_none_are_refused(only, capsys):
    assert benchmark(size=8, steps=4, slots=[2], only=only) == 2
    assert "sides are ckpt, schedules, jax, equinox" in capsys.readouterr().err
