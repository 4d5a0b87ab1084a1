"""The fusion benchmark on a small model: its figures agree, and fusion is no worse."""

import json

from experiments.fusion_benchmark import benchmark

SMALL = "model: mlp\nfeatures: 16\nhidden: [32, 32]\nbatch: 64\n"


def test_a_row_says_what_fusion_brings(tmp_path, capsys):
    config, out = tmp_path / "small.yaml", tmp_path / "fusion.json"
    config.write_text(SMALL)
    assert benchmark(config, out=out, repeat=1, work=200) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["identical"]
    plain, fused = row["plain"], row["fused"]
    for figure in ("lets", "traffic_bytes", "predicted_seconds"):
        assert fused[figure] < plain[figure]
    assert fused["peak_bytes"] <= plain["peak_bytes"]
    assert fused["smallest_bytes"] <= fused["peak_bytes"]
    assert "identical" in capsys.readouterr().out
