"""`ckpt ops`: the table is the registry."""

import json

from ckpt.ir.op import OPS


def test_every_primitive_stands_in_the_table(ckpt_):
    code, out, _ = ckpt_("ops", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert set(rows) == set(OPS)
    for rule in ("type", "impl", "cost", "lower", "jvp", "samples"):
        assert all(row["rules"][rule] for row in rows.values())
    assert rows["mul"]["rules"]["transpose"]
    assert not rows["sin"]["rules"]["transpose"]
    assert rows["permute"]["rules"]["view"]
    assert not rows["mul"]["rules"]["view"]
    assert rows["mul"]["numpy"] == "multiply"
    assert rows["sin"]["kernel"] == "Map"
    assert rows["sum"]["parameters"] == ["axes"]


def test_the_table_for_people(ckpt_):
    code, out, _ = ckpt_("ops")
    assert code == 0
    assert f"{len(OPS)} primitives" in out
    assert "np.tanh" in out
