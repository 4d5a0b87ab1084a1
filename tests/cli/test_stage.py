"""`ckpt stage`."""

import json
import sys

import pytest

GP = """
import numpy as np
import ckpt


def predict(X, y, noise, xs):
    d = X[:, None] - X[None, :]
    L = np.linalg.cholesky(np.exp(-d * d) * noise)
    ks = np.exp(-((xs[:, None] - X[None, :]) ** 2))
    return ks @ (L @ y), ks @ L


def example_inputs(n=200, m=4):
    line = ckpt.Spec((n,), np.float64)
    return line, line, ckpt.Spec((), np.float64), ckpt.Spec((m,), np.float64)
"""
FACTOR, ALPHA, INPUT = 200 * 200 * 8, 200 * 8, 200 * 8


@pytest.fixture
def predict(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "gp.py"
    file.write_text(GP)
    return f"{file}:predict"


def kept(ckpt_, predict, *options):
    code, out, err = ckpt_(
        "stage", predict, "--known", "X,y,noise", "--calls", "1e4", "--json", *options
    )
    assert code == 0, err
    found = json.loads(out)
    return found, sorted(one["bytes"] for one in found["kept"])


def test_the_budget_ladder_of_a_predictor(ckpt_, predict):
    found, sizes = kept(ckpt_, predict, "--budget", "64MB")
    assert sizes == [INPUT, ALPHA, FACTOR]
    assert found["status"] == "optimal"
    # with the inputs at hand alone, sixteen hundred bytes hold alpha and the rest is made again
    lean, sizes = kept(ckpt_, predict, "--budget", "2kB", "--at-hand", "X,noise")
    assert sizes == [ALPHA]
    assert lean["seconds_per_call"] > found["seconds_per_call"]
    assert lean["next_saves_seconds"][0] == pytest.approx(lean["seconds"] - found["seconds"])
    assert [size for size, _ in lean["curve"]][-1] == ALPHA + FACTOR


def test_a_slow_link_in_every_call_is_worse_than_making_it_again(ckpt_, predict):
    options = ["--at-hand", "X,y,noise", "--loads", "every_call", "--link", "1MB/s"]
    _, sizes = kept(ckpt_, predict, *options)
    assert FACTOR not in sizes


def test_the_table_names_values_and_lines_and_the_curve_is_drawn(ckpt_, predict, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curve.png"
    code, out, _ = ckpt_("stage", predict, "--known", "X,y,noise", "--out", picture)
    assert code == 0
    assert "cholesky (gp.py:8)" in out
    assert "█" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--known", "X,z"], "known names 'z'; the arguments are X, y, noise, xs"),
        (["--known", "X", "--calls", "0"], "calls must be positive and finite"),
        (["--known", "X,y", "--budget", "10B"], "the values that must cross take"),
        (["--known", "X", "--link", "fast"], "not a rate: 'fast'"),
        (["--known", "X", "--budget", "10 XB"], "unknown unit 'XB'"),
    ],
)
def test_what_is_wrong_is_said(ckpt_, predict, options, said):
    code, _, err = ckpt_("stage", predict, *options)
    assert code != 0
    assert said in err
