"""Sums of padded pieces: joined where they fill an array, and nowhere else; with the same bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckpt
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.program import Program
from ckpt.ir.text import parse
from ckpt.ir.types import DType, Type
from ckpt.simplify.gather import gather


@st.composite
def sums(draw):
    """A sum, in a random order, of padded pieces that fill an axis and of whole arrays."""
    axis, other = draw(st.integers(0, 1)), draw(st.integers(1, 3))
    widths = draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    n_whole = draw(st.integers(0, 2))
    total = sum(widths)
    b = Builder("f")
    terms, at = [], 0
    for width in widths:
        shape = (width, other) if axis == 0 else (other, width)
        x = b.input(Type(shape, DType.F64))
        low, high = [0, 0], [0, 0]
        low[axis], high[axis] = at, total - at - width
        pad = make("pad", low=tuple(low), high=tuple(high), interior=(0, 0))
        terms.append(b.emit(pad, x))
        at += width
    whole = (total, other) if axis == 0 else (other, total)
    terms += [b.input(Type(whole, DType.F64)) for _ in range(n_whole)]
    terms = draw(st.permutations(terms))
    while len(terms) > 1:
        i = draw(st.integers(0, len(terms) - 2))
        terms[i : i + 2] = [b.emit(make("add"), terms[i], terms[i + 1])]
    return b.build(terms), n_whole


@given(sums(), st.integers(0, 99))
def test_what_is_joined_is_equal(made, seed):
    program, n_whole = made
    joined = check(gather(program))
    random = np.random.default_rng(seed)
    ins = [random.normal(size=v.type.shape) for v in program.ins]
    (got,), (want,) = interpret(joined, *ins), interpret(program, *ins)
    np.testing.assert_array_equal(got, want)
    chain = all(e.op.name != "add" or _pads(program, e) for e in program.eqns)
    if n_whole == 0 and chain:
        assert [e.op.name for e in joined.eqns] == ["concatenate"]


def _pads(program: Program, eqn) -> bool:
    """Whether an operand of an addition is a pad."""
    defs = {v: e.op.name for e in program.eqns for v in e.outs}
    return any(defs.get(x) == "pad" for x in eqn.ins)


NEAR_MISSES = {
    "a gap": ("low=(0,), high=(3,)", "low=(3,), high=(0,)", "s"),
    "an overlap": ("low=(0,), high=(1,)", "low=(2,), high=(0,)", "s"),
    "a sum read twice": ("low=(0,), high=(2,)", "low=(2,), high=(0,)", "p"),
}


@pytest.mark.parametrize(("first", "second", "result"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_what_does_not_fill_an_array_stays(first, second, result):
    n = {"low=(0,), high=(3,)": 1, "low=(0,), high=(1,)": 3}.get(first, 2)
    m = {"low=(3,), high=(0,)": 1}.get(second, 2)
    program = parse(f"""f(a: f64[{n}], b: f64[{m}], x: f64[4]) -> (f64[4], f64[4]) {{
      p = pad[{first}, interior=(0,)] a
      q = pad[{second}, interior=(0,)] b
      t = add p x
      s = add q t
      r = mul {"t" if result == "p" else "s"} 2.0:f64
      return s, r
    }}""")
    assert "concatenate" not in {e.op.name for e in gather(program).eqns}


def test_the_gradients_of_split_and_roll_add_no_zeros():
    def loss(x):
        left, right = np.split(x, 2, axis=1)
        return np.sum(np.tanh(left) * np.roll(right, 1, axis=0))

    step = ckpt.value_and_grad(loss, fusion=False)
    x = np.random.default_rng(0).normal(size=(4, 6))
    names = {e.op.name for e in step.joint_for(x).program.eqns}
    assert "pad" not in names
    _, grad = step(x)
    left, right = np.split(x, 2, axis=1)
    want = np.hstack([np.roll(right, 1, 0) / np.cosh(left) ** 2, np.roll(np.tanh(left), -1, 0)])
    np.testing.assert_allclose(grad, want, rtol=1e-12)
