"""Pieces are turned before they are joined where that saves a copy, and nowhere else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import ckpt
from ckpt.ir.build import Builder
from ckpt.ir.interpret import interpret
from ckpt.ir.op import HoldsPrograms, make
from ckpt.ir.storage import is_view, storage
from ckpt.ir.types import DType, Type
from ckpt.simplify.turn_pieces import turn_pieces
from tests.laws.oracles import draw_inputs, same_bits


@st.composite
def joined(draw):
    """Pieces joined, permuted, and perhaps laid out as a vector; perhaps read before that."""
    rank = draw(st.integers(1, 4))
    shape = draw(st.tuples(*[st.integers(1, 3)] * rank))
    axis, order = draw(st.integers(0, rank - 1)), tuple(draw(st.permutations(range(rank))))
    b = Builder("joined")
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    pieces = [b.input(Type((*shape[:axis], n, *shape[axis + 1 :]), DType.F32)) for n in lengths]
    whole = b.emit(make("concatenate", axis=axis), *pieces)
    turned = b.emit(make("permute", axes=order), whole)
    outs = [b.emit(make("neg"), turned)]
    if draw(st.booleans()):
        outs.append(b.emit(make("reshape", shape=(turned.type.size,)), turned))
    if draw(st.booleans()):
        outs.append(b.emit(make("neg"), whole))
    return b.build(outs)


def written(program):
    """How many lets make buffers."""
    stored = storage(program)
    return sum(not is_view(e, stored) for e in program.eqns)


@given(joined())
def test_values_stay_and_one_copy_goes_where_there_was_one(program):
    made = turn_pieces(program)
    args = draw_inputs(program)
    assert same_bits(interpret(made, *args), interpret(program, *args))
    assert written(made) == written(program) - (made is not program)


def attention(w, x):
    batch, n, width = x.shape
    q, k, v = np.transpose((x @ w).reshape(batch, n, 3, 2, width // 2), (2, 0, 3, 1, 4))
    scores = q @ np.swapaxes(k, -1, -2)
    p = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    seen = p / np.sum(p, axis=-1, keepdims=True) @ v
    return np.sum(np.swapaxes(seen, 1, 2).reshape(batch, n, width) ** 2)


def test_heads_are_read_where_they_stand_and_their_cotangents_joined_in_place():
    random = np.random.default_rng(0)
    w = random.standard_normal((16, 48)).astype(np.float32) / 4
    x = random.standard_normal((2, 9, 16)).astype(np.float32)
    step = ckpt.value_and_grad(attention)
    program = step.executable_for(w, x).program
    stored = storage(program)
    made = [e.op.name for e in program.eqns if not is_view(e, stored)]
    assert made.count("concatenate") == 1
    assert "copy" not in made
    assert "reshape" not in made[made.index("concatenate") :]
    (back,) = (e for e in program.eqns if e.op.name == "attention_cotangent")
    assert isinstance(back.op, HoldsPrograms)
    assert len({stored[q].root for q in back.ins[:3]}) == 1  # all heads are views of one product
    value, grad = step(w, x)
    other, want = ckpt.value_and_grad(attention, patterns=False, fusion=False)(w, x)
    np.testing.assert_allclose(value, other, rtol=1e-5)
    np.testing.assert_allclose(grad, want, rtol=1e-4, atol=1e-4)
