"""The command line in process: its exit code, what it prints, small models to run it on."""

import sys
from typing import NamedTuple

import pytest

from ckpt.cli.app import run

NET = """
import numpy as np
import ckpt


def loss(params, x, y):
    for w in params[:-1]:
        x = np.tanh(x @ w)
    return np.mean((x @ params[-1] - y) ** 2)


def hidden(params, x, y):
    return np.tanh(x @ params[0])


def broken(params, x, y):
    return undefined_name


def branches(params, x, y):
    if np.sum(x) > 0:
        return np.sum(x)
    return np.sum(y)


def example_inputs(batch=256, depth=6):
    widths = [16] + [32] * depth + [1]
    params = [ckpt.Spec(shape, np.float32) for shape in zip(widths, widths[1:])]
    return params, ckpt.Spec((batch, 16), np.float32), ckpt.Spec((batch, 1), np.float32)
"""

PROGRAM = """
f(x: f32[256,4], u: f32[4,32], w: f32[32,32]) -> (f32[]) {
  p = dot[contract=((1,), (0,)), batch=((), ())] x u
  h = tanh p
  q = dot[contract=((1,), (0,)), batch=((), ())] h w
  g = tanh q
  r = dot[contract=((1,), (0,)), batch=((), ())] g w
  k = tanh r
  e = mul k k
  s = sum[axes=(0, 1)] e
  return s
}
"""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def ckpt_(capsys):
    """Run `ckpt ARGUMENTS` and give its exit code, stdout and stderr."""

    def call(*tokens: object) -> Outcome:
        capsys.readouterr()
        try:
            code = run([str(t) for t in tokens])
        except SystemExit as stop:  # usage errors
            code = stop.code
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture
def net(tmp_path, monkeypatch):
    """`file.py:loss` of a small perceptron."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "net.py"
    file.write_text(NET)
    return f"{file}:loss"


@pytest.fixture(scope="session")
def program_text():
    return PROGRAM


@pytest.fixture
def program(tmp_path, program_text):
    """A `file.ir`."""
    file = tmp_path / "f.ir"
    file.write_text(program_text)
    return file
