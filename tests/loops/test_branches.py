"""`ckpt.cond` and `ckpt.switch` against Python's own branches."""

import numpy as np
import pytest

import ckpt
from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.api.derive import prepared
from ckpt.ir.check import check
from ckpt.ir.text import parse, to_text
from tests.loops.slots import gradient, same_bits

W = np.array([[0.5, -0.3], [0.2, 0.8]])
X = np.array([1.0, -0.5])


def branching(cond, switch):
    def step(w, x, i):
        x = cond(np.sum(x) > 0.3, lambda x: np.tanh(x @ w), lambda x: np.sin(x) * w[0], x)
        return switch(i, [lambda x: 2.0 * x, lambda x: np.exp(-x * x), lambda x: x], x)

    return step


ours = branching(ckpt.cond, ckpt.switch)
pythons = branching(
    lambda p, a, b, *args: (a if p else b)(*args),
    lambda i, fs, *args: fs[min(max(i, 0), len(fs) - 1)](*args),
)


def numeric(f, args, d, eps=1e-6):
    up, down = (f(*(a + s * eps * b for a, b in zip(args, d, strict=True))) for s in (1, -1))
    return (up - down) / (2 * eps)


@pytest.mark.parametrize("i", [-3, 0, 1, 2, 7])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_branch_that_python_takes(i, sign):
    f = ckpt.compile(ours)
    np.testing.assert_allclose(f(W, sign * X, i), pythons(W, sign * X, i), rtol=1e-14)
    loss = ckpt.grad(lambda w, x, i: np.sum(ours(w, x, i) ** 3), argnums=(0, 1))
    d = np.cos(W), np.sin(X)
    slope = sum(np.sum(g * v) for g, v in zip(loss(W, sign * X, i), d, strict=True))
    want = numeric(lambda w, x: np.sum(pythons(w, x, i) ** 3), (W, sign * X), d)
    np.testing.assert_allclose(slope, want, rtol=1e-7, atol=1e-9)


def test_branches_inside_a_loop_and_their_second_derivatives():
    def loss(w, x):
        def body(c, _):
            x, i = c
            return (ours(w, x, i % 3), i + 1), None

        (x, _), _ = ckpt.scan(body, (x, 0), length=7)
        return np.sum(x * x)

    def python(w, x):
        for i in range(7):
            x = pythons(w, x, i % 3)
        return np.sum(x * x)

    d = np.cos(W), np.sin(X)
    want, _ = gradient(loss, (W, X), 7)
    np.testing.assert_allclose(want[0], python(W, X), rtol=1e-13)
    slope = sum(np.sum(g * v) for g, v in zip(want[1:], d, strict=True))
    np.testing.assert_allclose(slope, numeric(python, (W, X), d), rtol=1e-6)
    for slots in (1, 2, 3):
        assert same_bits(gradient(loss, (W, X), slots)[0], want)

    def forward(w, x):
        return ckpt.jvp(loss, (w, x), d)[1]

    def reverse(w, x):
        gs = ckpt.grad(loss, argnums=(0, 1))(w, x)
        return np.sum(gs[0] * d[0]) + np.sum(gs[1] * d[1])

    for a, b in zip(
        ckpt.grad(forward, argnums=(0, 1))(W, X),
        ckpt.grad(reverse, argnums=(0, 1))(W, X),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_memory_is_that_of_the_hungriest_branch():
    def loss(big):
        def f(x):
            for _ in range(4):
                x = np.tanh(x) @ np.eye(64)
            return x

        return np.sum(ckpt.switch(0, [f] * big, np.ones((64, 64))))

    def arena(n):
        return ckpt.compile(lambda x: loss(n) + x).plan_for(1.0).arena_bytes

    assert arena(3) == arena(1)


def test_it_is_linear_where_its_branches_are():
    program = prepared(ckpt.trace(lambda w, x: ours(w, x, 1), (W, X)).program)
    halves = unzip(jvp(program))
    check(halves.early)
    check(halves.late)
    check(transpose(halves.late))
    text = to_text(program)
    assert to_text(parse(text)) == "\n".join(line.split("  //")[0] for line in text.split("\n"))
