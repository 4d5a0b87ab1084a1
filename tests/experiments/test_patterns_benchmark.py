"""The patterns benchmark on a small model: its figures agree, and less memory is needed."""

import json

from experiments.patterns_benchmark import benchmark

SMALL = "model: gpt\ncontext: 64\nwidth: 16\nlayers: 1\nheads: 2\nbatch: 2\n"


def test_a_row_says_what_patterns_bring(tmp_path, capsys):
    config, out = tmp_path / "small.yaml", tmp_path / "patterns.json"
    config.write_text(SMALL)
    assert benchmark(config, out=out, repeat=1, work=0) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["blocked"]["patterns"] == {"attention": 1, "attention_cotangent": 1}
    assert row["plain"]["patterns"] == {}
    assert row["blocked"]["arena_bytes"] < row["plain"]["arena_bytes"]
    assert "attention" in capsys.readouterr().out
