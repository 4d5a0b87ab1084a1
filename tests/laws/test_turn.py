"""Matrices that loops multiply by, turned before the loop: the same meaning, only where it pays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from ckpt.api.loop_budget import loops_of
from ckpt.api.loop_residuals import keeping
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.loop import Scan
from ckpt.simplify.turn import turn
from tests.loops.slots import gradient, same_bits

RNG = np.random.default_rng(0)


def back_through(rows, size, length, consts):
    """`x <- 0.01 sum of x kᵀ`, once for each const, as a loop."""
    b = Builder("body")
    ks = [b.input(Type((size, size), DType.F64), f"k{i}") for i in range(consts)]
    x = b.input(Type((rows, size), DType.F64), "x")
    after = x
    for k in ks:
        made = b.emit(make("dot", contract=((1,), (1,)), batch=((), ())), x, k)
        after = b.emit(make("add"), after, made)
    scan = Scan(b.build([b.emit(make("tanh"), after)]), length, consts, 1)
    outer = Builder("loop")
    ins = [outer.input(v.type, v.name) for v in scan.program.ins]
    return outer.build(outer.emits(scan, *ins))


def turned(program):
    """The program, every let turned."""
    eqns = tuple(made for eqn in program.eqns for made in turn(eqn))
    return Program(program.name, program.ins, eqns, program.outs)


@given(
    st.sampled_from([1, 64, 65]),
    st.sampled_from([127, 128]),
    st.sampled_from([31, 32]),
    st.integers(0, 2),
    st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_a_loop_with_turned_matrices_means_the_same(rows, size, length, consts, alike):
    program = back_through(rows, size, length, consts)
    made = check(turned(program))
    ins = [RNG.normal(size=v.type.shape) / size for v in program.ins]
    if alike and consts == 2:
        ins[1] = ins[0]
    (got,), (want,) = interpret(made, *ins), interpret(program, *ins)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)
    pays = rows <= 64 and size >= 128 and length >= 32
    assert sum(e.op.name == "permute" for e in made.eqns) == (consts if pays else 0)


def test_other_lets_stay():
    x = Var(Type((3,), DType.F64))
    let = Eqn((Var(x.type),), make("sin"), (x,))
    assert turn(let) == (let,)


def layer(w, h, xs):
    """Its steps back multiply by the transposed weights."""

    def step(h, x):
        new = np.tanh(h @ w + x)
        return new, np.sum(new)

    h, sums = ckpt.scan(step, h, xs)
    return np.sum(h * h) + np.sum(sums)


@pytest.fixture(scope="module")
def args():
    w = (0.05 * RNG.normal(size=(128, 128))).astype(np.float32)
    return w, np.ones((8, 128), np.float32), RNG.normal(size=(40, 8, 128)).astype(np.float32)


def test_gradients_are_those_of_an_unrolled_loop_and_the_same_for_every_plan(args):
    def unrolled(w, h, xs):
        sums = []
        for x in xs:
            h = np.tanh(h @ w + x)
            sums.append(np.sum(h))
        return np.sum(h * h) + np.sum(np.stack(sums))

    whole = ckpt.value_and_grad(layer, argnums=(0, 1, 2))
    value, grads = whole(*args)
    want_value, want = ckpt.value_and_grad(unrolled, argnums=(0, 1, 2))(*args)
    np.testing.assert_allclose(value, want_value, rtol=1e-5)
    for got, other in zip(grads, want, strict=True):
        np.testing.assert_allclose(got, other, rtol=1e-3, atol=1e-4)
    for slots in (1, 4, 40):
        assert same_bits([value, *grads], gradient(layer, args, slots)[0])


def test_the_weights_are_turned_once_and_what_steps_leave_can_still_be_kept(args):
    program = ckpt.value_and_grad(layer).joint_for(*args).program
    assert sum(e.op.name == "permute" for e in program.eqns) == 1
    (let,) = loops_of(program)
    kept = keeping(program, let)
    assert kept is not None
    # the way back reads them turned; the loop itself does not read them
    assert kept.forward.op.consts == 1
    read = [v for e in kept.programs[1].eqns if e.op.name == "dot" for v in e.ins]
    assert kept.programs[1].ins[0] in read
