"""Rows known and rows unknown of one array: the same values, and the known rows really known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
import ckpt.numpy as cnp
from ckpt.ir.build import Builder, lit
from ckpt.ir.check import check
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.types import DType, Type
from ckpt.parts import parted
from tests.laws.oracles import draw_inputs
from tests.laws.strategies import programs


@settings(max_examples=150, deadline=None)
@given(programs(max_lets=14), st.data())
def test_blocks_compute_what_the_whole_does(program, data):
    n = len(program.ins)
    unknown = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    apart = parted(program, unknown, [])
    check(apart)
    assert [v.type for v in apart.outs] == [v.type for v in program.outs]
    ins = draw_inputs(program)
    for found, wanted in zip(interpret(apart, *ins), interpret(program, *ins), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)


A, B = np.linspace(0.1, 1, 12).reshape(4, 3), np.linspace(2, 3, 6).reshape(2, 3)


def late_ops(f, **options):
    staged = ckpt.partial_eval(f, "a", like=(A, B), calls=100, **options)
    whole = f(A, B)
    np.testing.assert_allclose(staged.bind(A)(B), whole, rtol=1e-12)
    return staged, [e.op.name for e in staged.late.program.eqns]


def rowwise(x):
    x = np.tanh(x) * np.arange(1.0, 4.0)
    return np.exp(x - np.max(x, axis=-1, keepdims=True)).astype(np.float64)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: rowwise(np.concatenate([a, b]))[4:],
        lambda a, b: rowwise(np.concatenate([a, b, a]))[4:6],
        lambda a, b: rowwise(np.concatenate([b, a]))[:2],
        lambda a, b: np.concatenate([a, b]).T.reshape(3, 1, 6)[:, 0, 4:],
        lambda a, b: np.concatenate([a.T, b.T], axis=1)[:, 4:],
        lambda a, b: (np.concatenate([a, b]) @ np.ones((3, 5)))[4:],
        lambda a, b: np.sum(np.concatenate([a, b])[None], axis=-1)[:, 4:],
        lambda a, b: np.vstack([a, b])[5],
    ],
)
def test_what_only_unknown_rows_make_reads_no_known_ones(f):
    staged, _ = late_ops(f)
    assert staged.residuals == ()


def test_what_needs_all_rows_keeps_the_work_on_known_ones():
    def f(a, b):
        return np.cumsum(np.sin(np.concatenate([a, b])), axis=0)

    staged, ops = late_ops(f)
    assert [r.type.shape for r in staged.residuals] == [(4, 3)]
    assert ops.count("sin") == 1
    whole, ops = late_ops(f, rows=False)
    assert ops.count("sin") == 1
    assert [r.name for r in whole.residuals] == ["a"]


def attention(x, mask):
    q, k, v = np.sin(x), np.cos(x), np.tanh(x)
    scores = np.where(mask, q @ k.T, -np.inf)
    return cnp.softmax(scores) @ v


LONG, SHORT = np.random.default_rng(0).normal(size=(2, 240, 32))
SHORT = SHORT[:4]
SEES = np.tril(np.ones((244, 244), bool))


def layers(mask, *, patterns=False):
    def f(a, b):
        x = np.concatenate([a, b])
        for _ in range(3):
            x = attention(x, mask)
        return x[len(a) :]

    staged = ckpt.partial_eval(f, "a", like=(LONG, SHORT), calls=100, patterns=patterns)
    np.testing.assert_allclose(staged.bind(LONG)(SHORT), f(LONG, SHORT), rtol=1e-9)
    name = "attention" if patterns else "exp"
    return staged, [e.outs[0].type.shape for e in staged.late.program.eqns if e.op.name == name]


def test_a_causal_mask_keeps_known_rows_known():
    staged, exps = layers(SEES)
    # keys and values of each layer, and no row of scores or of the mask
    assert {r.type.shape for r in staged.residuals} == {(240, 32)}
    assert staged.residual_bytes == 2 * 3 * LONG.nbytes
    assert {shape[0] for shape in exps} == {4}


@pytest.mark.parametrize("patterns", [False, True])
def test_without_a_mask_every_row_waits(patterns):
    _staged, weighed = layers(np.ones((244, 244), bool), patterns=patterns)
    assert max(shape[0] for shape in weighed) >= 240


def test_sums_along_known_and_unknown_rows_add_up_the_known_ones_early():
    weights = np.linspace(-1, 1, 244)

    def f(a, b):
        rows = np.concatenate([a, b])
        return np.sum(rows, axis=0), np.max(rows), weights @ rows

    staged = ckpt.partial_eval(f, "a", like=(LONG, SHORT), calls=100)
    assert [r.type.shape for r in staged.residuals] == [(32,), (), (32,)]
    assert all(e.op.name != "concatenate" for e in staged.late.program.eqns)
    for found, wanted in zip(staged.bind(LONG)(SHORT), f(LONG, SHORT), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_mask_that_is_made_of_nothing_is_looked_into():
    b = Builder("f")
    x, y = (b.input(Type((n, 3), DType.F64), name) for n, name in ((4, "x"), (2, "y")))
    rows, columns = (
        b.emit(make("iota", shape=(6, 6), axis=axis, dtype=DType.I64)) for axis in (0, 1)
    )
    mask = b.emit(make("less_equal"), columns, rows)
    both = b.emit(make("concatenate", axis=0), x, y)
    scores = b.emit(make("dot", contract=((1,), (1,)), batch=((), ())), both, both)
    seen = b.emit(make("where"), mask, scores, lit(-np.inf, DType.F64))
    weights = b.emit(make("exp"), seen)
    out = b.emit(make("dot", contract=((1,), (0,)), batch=((), ())), weights, both)
    stop, step = (4, 3), (1, 1)
    program = b.build([b.emit(make("slice", start=(0, 0), stop=stop, step=step), out)])
    apart = parted(program, [False, True], [])
    read = {x for eqn in apart.eqns for x in eqn.ins}
    assert apart.ins[1] not in read  # no row of y is before a row of x
    ins = draw_inputs(program)
    np.testing.assert_allclose(interpret(apart, *ins)[0], interpret(program, *ins)[0])


def test_tokens_are_looked_up_row_by_row():
    table = np.arange(30.0).reshape(10, 3)
    known, new = np.array([1, 2, 3]), np.array([4, -1])

    def f(table, known, new):
        return np.sin(table[np.concatenate([known, new])]) @ np.ones(3)

    staged = ckpt.partial_eval(f, ("table", "known"), like=(table, known, new), at_hand="table")
    np.testing.assert_allclose(staged.bind(table, known)(new), f(table, known, new))
    assert [r.nbytes for r in staged.residuals] == [24]


def test_arrays_without_rows():
    for empty, full in ((A[:0], B), (A, B[:0])):
        staged = ckpt.partial_eval(
            lambda a, b: np.sin(np.concatenate([a, b])).sum(0), "a", like=(empty, full)
        )
        np.testing.assert_allclose(
            staged.bind(empty)(full), np.sin(np.concatenate([empty, full])).sum(0)
        )
