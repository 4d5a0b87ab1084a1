"""The table of kernels: what is shown adds up to what runs."""

import re

import numpy as np
import pytest

import ckpt
from ckpt.api.step import Options
from ckpt.choice import Budget
from ckpt.cost.device import Device
from ckpt.inspect.kernels import to_table


def loss(w, x):
    h = np.tanh(x @ w + 1.0)
    return np.mean((h * h - x) ** 2)


@pytest.fixture
def made():
    spec = ckpt.Spec((64, 64), np.float32)
    options = Options(Budget.of(None), "auto", Device.this(), None, None)
    return ckpt.value_and_grad(loss).compiled_for(spec, spec), options


def test_every_let_that_runs_has_a_row_and_its_ops(made):
    compiled, options = made
    text = to_table(compiled, options)
    rows = [line for line in text.splitlines() if re.search(r"\d+x ", line + " ")]
    assert len(rows) == len({run.let for run in compiled.plan.steps})
    assert any("add, tanh" in row for row in rows)
    assert any(re.search(r"square.*sum", row) for row in rows)
    assert f"{len(rows)} lets run" in text


def test_bytes_are_those_of_operands_and_results(made):
    compiled, options = made
    row = next(r for r in to_table(compiled, options).splitlines() if "add, tanh" in r)
    # a 64 x 64 f32 array in and one out: the literal 1.0 is 4 bytes more, and rounds away
    assert row.count("16.0 KiB") == 2
