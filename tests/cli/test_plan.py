"""`ckpt plan`."""

import json

import pytest

from ckpt.plan.plan import Plan


def test_the_table(ckpt_, net):
    code, out, _ = ckpt_("plan", net)
    assert code == 0
    assert "no budget" in out
    assert "net.py:8" in out


def test_json_is_the_plan(ckpt_, net):
    code, out, _ = ckpt_("plan", net, "--budget", "0.6x", "--json")
    assert code == 0
    plan = Plan.from_json(out)
    assert plan.peak_bytes <= plan.budget_bytes
    assert sum(n - 1 for n in plan.runs.values()) > 0


def test_out_and_diff_tell_why_memory_grew(ckpt_, net, tmp_path):
    file = tmp_path / "plan.json"
    assert ckpt_("plan", net, "--budget", "0.6x", "--out", file).code == 0
    small = Plan.load(file)
    code, out, _ = ckpt_("plan", net, "--diff", file)
    assert code == 0
    assert "the peak moved from" in out
    assert "runs that changed" in out
    code, out, _ = ckpt_("plan", net, "--budget", "0.6x", "--diff", file)
    assert code == 0
    assert "the plans are the same in every figure" in out
    assert small.budget_bytes is not None


def test_reserve_counts(ckpt_, net):
    with_reserve = Plan.from_json(ckpt_("plan", net, "--reserve", "1MiB", "--json").out)
    without = Plan.from_json(ckpt_("plan", net, "--json").out)
    assert with_reserve.reserve_bytes == 1 << 20
    assert with_reserve.peak_bytes == without.peak_bytes + (1 << 20)


def test_overhead_is_a_budget_the_other_way_round(ckpt_, net):
    plan = Plan.from_json(ckpt_("plan", net, "--overhead", "0.1", "--json").out)
    whole = Plan.from_json(ckpt_("plan", net, "--json").out)
    assert plan.overhead <= 0.1
    assert plan.peak_bytes < whole.peak_bytes


def test_a_device_file(ckpt_, net, tmp_path):
    file = tmp_path / "slow.yaml"
    rates = dict.fromkeys(["f32", "f64", "i32", "i64", "bool"], 1e6)
    text = {"name": "slow", "flops_per_second": rates, "bytes_per_second": 1e6}
    file.write_text(json.dumps(text))
    slow = Plan.from_json(ckpt_("plan", net, "--device", file, "--json").out)
    fast = Plan.from_json(ckpt_("plan", net, "--json").out)
    assert slow.seconds > 10 * fast.seconds


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "10 XB"], "unknown unit 'XB'"),
        (["--budget", "2KiB"], "no plan fits 2.0 KiB"),
        (["--policy", "best"], "there is no policy 'best'"),
        (["--device", "no.yaml"], "no.yaml: No such file"),
        (["--diff", "no.json"], "no.json: No such file"),
        (["--out", "no_folder/plan.json"], "no_folder: there is no such folder"),
        (["--budget", "1MiB", "--overhead", "0.1"], "one of bytes, fraction and overhead"),
    ],
)
def test_what_is_wrong_is_one_message(ckpt_, net, options, said):
    code, out, err = ckpt_("plan", net, *options)
    assert code == 1
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_damaged_older_plan(ckpt_, net, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text("{")
    code, _, err = ckpt_("plan", net, "--diff", file)
    assert code == 1
    assert err.startswith("PlanError: the plan is not JSON")
