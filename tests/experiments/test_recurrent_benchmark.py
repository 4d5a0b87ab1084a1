"""The benchmark of recurrent networks on a small one: memory, counts and bits are right."""

import json
from importlib.util import find_spec

from experiments.recurrent_benchmark import benchmark


def test_rows_say_what_less_memory_costs(tmp_path, capsys):
    out = tmp_path / "recurrent.json"
    sizes = {"hidden": 16, "features": 4, "steps": 200, "batch": 4}
    assert benchmark(**sizes, shares=[0.5, 0.2], repeat=1, out=out) == 0
    rows = {row["system"]: row for row in json.loads(out.read_text())["rows"]}
    plain = rows["ckpt, plain"]
    assert plain["again"] == 0
    for share in (0.5, 0.2):
        row = rows[f"ckpt, {share:.0%} of that"]
        assert row["arena_bytes"] <= share * plain["arena_bytes"]
        assert row["same_bits"]
    assert rows["ckpt, 20% of that"]["again"] > 0
    others = ["JAX, plain", "JAX, 10 x 20"] if find_spec("jax") else []
    for name in others:
        equal = rows.get(f"ckpt, in the memory of {name}")
        assert name != "JAX, plain" or equal is not None
        if equal is not None:
            assert equal["arena_bytes"] <= rows[name]["arena_bytes"]
            assert equal["same_bits"]
    assert all(row["error"] < 1e-4 for row in rows.values())
    assert "20% of that" in capsys.readouterr().out
