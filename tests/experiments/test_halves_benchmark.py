"""The benchmark of mixed precision on a small model: half the bytes, the same gradients nearly."""

import json

from experiments.halves_benchmark import benchmark

SMALL = "model: mlp\nfeatures: 8\nhidden: [16, 16, 16, 16, 16, 16]\nbatch: 256\n"


def test_a_row_says_what_halves_bring(tmp_path, capsys):
    config, out = tmp_path / "small.yaml", tmp_path / "halves.json"
    config.write_text(SMALL)
    assert benchmark(config, out=out, repeat=1, work=0) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["mixed"]["saved_bytes"] < row["full"]["saved_bytes"]
    assert "bf16" in capsys.readouterr().out
