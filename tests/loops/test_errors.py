"""Bad loops: what is wrong, in which leaf, on which line."""

import numpy as np
import pytest

import ckpt
from ckpt.errors import UnrolledWarning

X = np.ones(3)


def grow(c, _):
    return np.concatenate([c, c]), None


def count(c, _):
    return {"a": c["a"], "b": c["a"].astype(np.float32)}, None


def narrowed(x):
    return x.astype(np.float32)


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (
            lambda x: ckpt.scan(grow, x, length=2),
            r"makes it f64\[6\], at test_errors.py:\d+: return np.concatenate",
        ),
        (
            lambda x: ckpt.scan(count, {"a": x, "b": x}, length=2),
            r"carry\['b'\] of scan begins as f64\[3\], and the body makes it f32\[3\]",
        ),
        (
            lambda x: ckpt.scan(lambda c, _: ((c, c), None), x, length=2),
            "the carry of scan changes its structure",
        ),
        (lambda x: ckpt.scan(lambda c, _: c, x, length=2), r"It returns \(carry, y\)"),
        (lambda x: ckpt.scan(lambda c, x: (c, x), x, None), "needs length="),
        (lambda x: ckpt.scan(lambda c, x: (c, x), x, length=-1), "length is -1"),
        (lambda x: ckpt.scan(lambda c, x: (c, x), x, length=2**64), r"at most 2\*\*53 steps"),
        (lambda x: ckpt.scan(lambda c, x: (c, x), x, length=2.0), "length is a float"),
        (lambda x: ckpt.scan(lambda c, y: (c, None), x, x, 4), "length is 4, but the xs have 3"),
        (
            lambda x: ckpt.scan(lambda c, y: (c, None), x, (x, np.ones(4))),
            "leaf 0 has 3, leaf 1 has 4",
        ),
        (lambda x: ckpt.scan(lambda c, y: (c, None), x, 3.0), "needs a first axis"),
        (lambda x: ckpt.scan(lambda c, y: (c, None), "x", length=2), "the carry holds a str"),
        (lambda x: ckpt.fori_loop(0, x[0], lambda i, c: c, x), "bounds of fori_loop"),
        (lambda x: ckpt.while_loop(lambda c: c > 0, lambda c: c, x), r"gives bool\[3\]"),
        (lambda x: ckpt.while_loop(np.sum, lambda c: c, x), r"gives f64\[\]"),
        (
            lambda x: ckpt.while_loop(lambda c: np.all(c > 0), lambda c: c[:2], x),
            r"begins as f64\[3\], and the body makes it f64\[2\]",
        ),
        (
            lambda x: ckpt.while_loop(lambda c: np.all(c > 0), lambda c: c, x, max_steps=0),
            "a positive integer",
        ),
        (lambda x: ckpt.cond(x > 0, lambda: 1.0, lambda: 2.0), r"a predicate is bool\[3\]"),
        (lambda x: ckpt.cond(x[0], lambda: 1.0, lambda: 2.0), r"a predicate is f64\[\]"),
        (
            lambda x: ckpt.cond(x[0] > 0, lambda: x, lambda: x[0]),
            r"disagree about result, at test_errors.py:\d+",
        ),
        (
            lambda x: ckpt.cond(x[0] > 0, lambda: x, lambda: (x, x)),
            r"different structures.*\n  branch false returns .*\n  branch true returns ",
        ),
        (
            lambda x: ckpt.cond(x[0] > 0, lambda x: x, narrowed, x),
            r"false makes f32\[3\], at test_errors.py:\d+: return x.*\n.* true makes f64\[3\]\n",
        ),
        (
            lambda x: ckpt.switch(1, [lambda: {"a": x, "b": x}, lambda: {"a": x, "b": x[1:]}]),
            r"about result\['b'\], at .*\n.* 0 makes f64\[3\]\n.* 1 makes f64\[2\].*\n.*reshape",
        ),
        (
            lambda x: ckpt.fori_loop(0, 3, lambda i, c: narrowed(c), x),
            r"begins as f64\[3\], .* f32\[3\], at test_errors.py:\d+: return x.astype",
        ),
        (lambda x: ckpt.switch(x[0], [lambda: 1.0]), "index of switch is float64"),
        (lambda x: ckpt.switch(0, []), "no branches"),
    ],
)
def test_it_says_what_is_wrong(f, what):
    with pytest.raises(ckpt.TraceError, match=what):
        ckpt.compile(f)(X)


def test_a_body_that_keeps_a_tracer_is_refused():
    kept = []

    def loss(x):
        ckpt.scan(lambda c, _: (c, kept.append(c)), x, length=2)
        return kept[0] * 2

    with pytest.raises(ckpt.TraceError):
        ckpt.compile(loss)(X)


def test_a_long_unrolled_loop_comes_with_a_hint():
    def loss(x):
        for _ in range(600):
            x = np.sin(x)
        return np.sum(x)

    with pytest.warns(UnrolledWarning, match=r"600 lets of loss.*np.sin\(x\)\n  ckpt.scan"):
        ckpt.trace(loss, (X,))


def test_python_numbers_compare():
    assert ckpt.compile(lambda i: i < 3)(2)
    assert not ckpt.compile(lambda i: i == 2.5)(2)


def test_python_numbers_give_way_to_what_the_body_makes():
    f = ckpt.compile(lambda x: ckpt.scan(lambda c, _: (c + x, None), 0, length=3)[0])
    assert f(np.float32(2.0)).dtype == np.float32
    assert f(np.float32(2.0)) == 6
