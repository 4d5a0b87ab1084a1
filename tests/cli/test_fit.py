"""`ckpt fit`."""

import json
from pathlib import Path

import pytest

from ckpt.cli.fit import largest
from ckpt.plan.plan import Plan


@pytest.mark.parametrize("limit", range(1, 20))
@pytest.mark.parametrize("holds", [0, 1, 2, 3, 7, 8, 9, 16, 18, 30])
def test_the_largest_that_fits(limit, holds):
    asked = []

    def fits(n):
        asked.append(n)
        return n <= holds

    assert largest(fits, limit) == min(holds, limit)
    assert len(asked) == len(set(asked))
    assert all(1 <= n <= limit for n in asked)


@pytest.mark.parametrize("holds", [10, 11, 14, 15, 40, 400, 5000])
def test_from_what_is_known_to_fit_by_larger_steps(holds):
    asked = []

    def fits(n):
        asked.append(n)
        return n <= holds

    found = largest(fits, 4000, known=10, growth=1.25, close=0.01)
    assert found <= min(holds, 4000) <= found * 1.01
    assert all(10 < n <= 4000 for n in asked)
    assert len(asked) == len(set(asked))


def test_the_next_one_does_not_fit(ckpt_, net):
    options = ["--budget", "256KiB", "--policy", "greedy", "--json"]
    code, out, _ = ckpt_("fit", net, "--over", "batch", *options)
    assert code == 0
    found = json.loads(out)
    best = found["largest"]
    assert found["peak_bytes"] <= 256 * 1024
    assert found["smallest_refused"] == best + 1
    file = net.removesuffix(":loss")
    text = Path(file).read_text()
    for n, fits in ((best, True), (best + 1, False)):
        Path(file).write_text(text.replace("batch=256", f"batch={n}"))
        code, planned, _ = ckpt_("plan", net, *options)
        assert (code == 0) == fits
        if fits:
            assert Plan.from_json(planned).peak_bytes == found["peak_bytes"]


def test_steps_and_the_limit(ckpt_, net):
    code, out, _ = ckpt_(
        "fit", net, "--budget", "1GiB", "--over", "depth", "--step", "2", "--max", "7", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["largest"] == 6
    assert found["smallest_refused"] is None


def test_people_are_told_the_peak(ckpt_, net):
    code, out, _ = ckpt_("fit", net, "--budget", "1GiB", "--over", "depth", "--max", "2")
    assert code == 0
    assert out.startswith("depth = 2 fits 1.0 GiB: peak")
    assert "2 is the largest that was to be tried (--max)" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "1KiB", "--over", "batch"], "not even batch = 1 fits:\nno plan fits"),
        (["--budget", "0.5x", "--over", "batch"], "give the budget in bytes"),
        (["--budget", "1MiB", "--over", "length"], "give it a keyword 'length'"),
        (["--budget", "1MiB", "--over", "batch", "--step", "0"], "--step must be at least 1"),
        (["--budget", "1MiB", "--over", "batch", "--max", "0"], "--max at least --step"),
    ],
)
def test_what_is_wrong_is_one_message(ckpt_, net, options, said):
    code, _, err = ckpt_("fit", net, *options)
    assert code == 1
    assert said in err


def test_a_program_does_not_grow(ckpt_, program):
    code, _, err = ckpt_("fit", program, "--budget", "1MiB", "--over", "batch")
    assert code == 1
    assert "the shapes of a program are fixed" in err
