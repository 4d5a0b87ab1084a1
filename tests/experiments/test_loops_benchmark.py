"""The benchmark of loops on a small grid: counts, bytes and gradients are right."""

import json

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
