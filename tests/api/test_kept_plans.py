"""Plans on disk: the same plan and bits as without, and nothing that is read is trusted."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ckpt
from ckpt.api import kept_plans, planning, step
from ckpt.choice import Limits
from ckpt.cost.device import Device

WEIGHTS = [
    np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64) / (i + 3) for i in range(4)
]
X = np.linspace(-2, 2, 512 * 64, dtype=np.float32).reshape(512, 64)


def loss(params, x):
    for w in params:
        x = np.tanh(x @ w)
    return np.mean(x**2)


def looped(params, x):
    x, _ = ckpt.scan(lambda x, _: (np.tanh(x @ params[0]), None), x, None, length=6)
    return np.mean(x**2)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of plans that is empty, and used."""
    monkeypatch.setenv("CKPT_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv(kept_plans.VARIABLE)
    return tmp_path / "plans"


@pytest.fixture
def planned(monkeypatch):
    """What is planned from here on, rather than read."""
    made = []
    before = planning.plan_joint
    monkeypatch.setattr(step, "plan_joint", lambda *a: (made.append(a), before(*a))[1])
    return made


def fresh(f=loss, **options):
    return ckpt.value_and_grad(f, **{"budget": "0.8x", **options})


def entry(folder) -> Path:
    (file,) = folder.iterdir()
    return file


@pytest.mark.parametrize("f", [loss, looped])
@pytest.mark.parametrize("budget", [None, "0.8x", "2MiB"])
def test_plan_report_and_bits_are_those_without(f, budget, planned, monkeypatch):
    monkeypatch.setenv(kept_plans.VARIABLE, "0")
    without = fresh(f, budget=budget)
    value, grads = without(WEIGHTS, X)
    monkeypatch.delenv(kept_plans.VARIABLE)
    fresh(f, budget=budget).plan_for(WEIGHTS, X)
    assert len(planned) >= 2
    planned.clear()
    again = fresh(f, budget=budget)
    found, found_grads = again(WEIGHTS, X)
    assert not planned
    assert again.plan == without.plan
    assert str(again.plan) == str(without.plan)
    assert f"{__name__.rsplit('.', 1)[-1]}.py:" in str(again.plan)  # lines are kept
    assert found.tobytes() == value.tobytes()
    assert [g.tobytes() for g in found_grads] == [g.tobytes() for g in grads]
    old = without.compiled_for(WEIGHTS, X)
    new = again.compiled_for(WEIGHTS, X)
    assert replace(new.decision, solve_seconds=0.0) == replace(old.decision, solve_seconds=0.0)
    assert new.joint.n_known == old.joint.n_known
    assert [e.source for e in new.joint.program.eqns] == [e.source for e in old.joint.program.eqns]


def test_whatever_has_a_say_in_the_plan_is_part_of_its_name(planned):
    slower = Device.built_in().model_copy(update={"bytes_per_second": 1e9})
    ways = [
        {},
        {"budget": "0.9x"},
        {"fusion": False},
        {"patterns": False},
        {"policy": "save_all", "budget": None},
        {"limits": Limits(work=100)},
        {"device": slower},
        {"argnums": 1},
        {"argnums": (0, 1)},
    ]
    for way in ways:
        fresh(**way).plan_for(WEIGHTS, X)
    fresh(lambda params, x: 2 * loss(params, x)).plan_for(WEIGHTS, X)
    fresh(budget=None).plan_for(WEIGHTS[:3], X)
    fresh(budget=None).plan_for(WEIGHTS, X[:256])
    ckpt.compile(loss).plan_for(WEIGHTS, X)
    assert len(planned) == len(ways) + 4
    planned.clear()
    for way in ways:
        fresh(**way).plan_for(WEIGHTS, X)
    assert not planned


def test_other_code_plans_anew(planned, monkeypatch):
    fresh().plan_for(WEIGHTS, X)
    monkeypatch.setattr(kept_plans, "_code", lambda: "another version")
    fresh().plan_for(WEIGHTS, X)
    monkeypatch.setattr(kept_plans, "machine", lambda: "another processor")
    fresh().plan_for(WEIGHTS, X)
    assert len(planned) == 3


def test_what_is_not_determined_by_its_key_is_not_kept(folder):
    fresh(limits=Limits(time_seconds=5.0)).plan_for(WEIGHTS, X)
    assert not folder.exists()


def sealed(held) -> bytes:
    body = json.dumps(held).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def altered(data: bytes, change) -> bytes:
    """An entry with a good checksum, but other contents."""
    held = json.loads(data.partition(b"\n")[2])
    change(held)
    return sealed(held)


def _arena(held):
    plan = json.loads(held["plan"])
    plan["arena_bytes"] -= 64
    held["plan"] = json.dumps(plan)


def _order(held):
    plan = json.loads(held["plan"])
    plan["steps"][0], plan["steps"][1] = plan["steps"][1], plan["steps"][0]
    held["plan"] = json.dumps(plan)


def _before_the_first(held):
    held["program"]["programs"][-1]["outs"][0] = -1


def _other_op(held):
    held["program"]["ops"][0][0] = "no_such_op"


DAMAGES = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[:-9],
    "a bit": lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
    "not JSON": lambda _: hashlib.sha256(b"{").hexdigest().encode() + b"\n{",
    "not a record": lambda _: sealed([1, 2]),
    "renamed": lambda data: altered(data, lambda held: held.update(key="0" * 64)),
    "arena": lambda data: altered(data, _arena),
    "order": lambda data: altered(data, _order),
    "variable": lambda data: altered(data, _before_the_first),
    "op": lambda data: altered(data, _other_op),
    "border": lambda data: altered(data, lambda held: held.update(n_known=10**6)),
    "decision": lambda data: altered(data, lambda held: held.update(decision="{}")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_bad_entry_is_a_warning_and_made_again(folder, planned, damage):
    good = fresh().plan_for(WEIGHTS, X)
    file = entry(folder)
    before = file.read_bytes()
    file.write_bytes(damage(before))
    with pytest.warns(kept_plans.PlanCacheWarning, match="made again"):
        assert fresh().plan_for(WEIGHTS, X) == good
    assert len(planned) == 2
    planned.clear()
    assert fresh().plan_for(WEIGHTS, X) == good  # it was replaced by a good one
    assert not planned


def test_a_folder_that_cannot_be_written_to_only_costs_time(tmp_path, planned, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("CKPT_CACHE_DIR", str(file))  # no folder can be made there, even by root
    plans = [fresh().plan_for(WEIGHTS, X) for _ in range(2)]
    assert plans[0] == plans[1]
    assert len(planned) == 2


def test_a_full_disk_leaves_nothing_behind(folder, planned, monkeypatch):
    real = os.fdopen

    def full(*args, **kwargs):
        real(*args, **kwargs).close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ckpt.codegen.cache.os.fdopen", full)
    fresh().plan_for(WEIGHTS, X)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr("ckpt.codegen.cache.os.fdopen", real)
    fresh().plan_for(WEIGHTS, X)
    assert len(planned) == 2


def test_what_was_not_used_for_longest_goes(folder, monkeypatch):
    for n in (64, 128, 256):
        fresh(budget=None).plan_for(WEIGHTS, X[:n])
    sizes = {f: f.stat().st_size for f in folder.iterdir()}
    for i, file in enumerate(sorted(sizes)):
        os.utime(file, (i, i))
    monkeypatch.setattr(kept_plans, "MOST_BYTES", sum(sizes.values()))
    fresh().plan_for(WEIGHTS, X)
    left = set(folder.iterdir())
    assert sum(f.stat().st_size for f in left) <= kept_plans.MOST_BYTES
    assert min(sizes) not in left
    assert left - set(sizes)


PROCESS = """
import os, sys, time
import numpy as np
import warnings
from ckpt.api.kept_plans import PlanCacheWarning
warnings.simplefilter('error', PlanCacheWarning)
from tests.api.test_kept_plans import WEIGHTS, X, fresh
while time.time() < float(sys.argv[1]): pass
for n in (64, 128, 192, 256):
    value, grads = fresh(budget=None)(WEIGHTS, X[:n])
    print(value.tobytes().hex(), sum(map(float, map(np.sum, grads))))
"""


def test_processes_at_once_agree(folder):
    start = str(time.time() + 2)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, start],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(ckpt.__file__).parents[1])},
        )
        for _ in range(2)
    ]
    said = [p.communicate()[0] for p in running]
    assert [p.returncode for p in running] == [0, 0]
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 4
    assert {f.suffix for f in folder.iterdir()} == {".ckptplan"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh(budget=None).plan_for(WEIGHTS, X[:64])
