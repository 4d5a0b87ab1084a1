"""Loops read the copy of a value: the same bits, in no more memory."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.types import DType, Type
from ckpt.plan.place import place
from ckpt.simplify.one_copy import one_copy
from ckpt.simplify.outputs import own_outputs
from tests.codegen.harness import COSTS
from tests.laws.oracles import draw_inputs, same_bits
from tests.plan.orders import first_order


@st.composite
def copied(draw):
    """A value, copies of it in other orders, and lets that read one or the other."""
    rank = draw(st.integers(2, 4))
    t = Type(draw(st.tuples(*[st.integers(1, 4)] * rank)), DType.F32)
    b = Builder("copied")
    x = b.emit(make(draw(st.sampled_from(["sin", "neg"]))), b.input(t))
    outs, last = [], x
    for _ in range(draw(st.integers(1, 6))):
        match draw(st.sampled_from(["copy", "loop", "sum"])):
            case "copy":
                order = tuple(draw(st.permutations(range(rank))))
                turned = b.emit(make("permute", axes=order), x)
                outs.append(b.emit(make("reshape", shape=(t.size,)), turned))
                outs.append(b.emit(make("neg"), outs.pop()))
            case "loop":
                last = b.emit(make("mul"), x, last)
            case _:
                outs.append(b.emit(make("sum", axes=(draw(st.integers(0, rank - 1)),)), x))
    return b.build([*outs, last])


def peak_bytes(program):
    program = own_outputs(program)
    return place(program, first_order(program), costs=COSTS).peak_bytes


@settings(deadline=None)
@given(copied())
def test_values_keep_their_bits_in_no_more_memory(program):
    made = one_copy(program)
    check(made)
    args = draw_inputs(program)
    assert same_bits(interpret(made, *args), interpret(program, *args))
    assert peak_bytes(made) <= peak_bytes(program)


def merged(w, x):
    heads = np.tanh(x)  # [batch, head, row, depth]
    batch, n_heads, rows, depth = x.shape
    y = np.swapaxes(heads, 1, 2).reshape(batch, rows, n_heads * depth) @ w
    return np.sum(y * y)


def test_what_is_merged_by_a_copy_is_kept_once():
    w, x = ckpt.Spec((32, 4), "float32"), ckpt.Spec((2, 4, 64, 8), "float32")
    joint = ckpt.value_and_grad(merged, argnums=(0, 1)).joint_for(w, x)
    eqns = list(joint.program.eqns)
    (heads,) = (e.outs[0] for e in eqns if e.op.name == "tanh")
    (copy,) = (i for i, e in enumerate(eqns) if e.op.name == "reshape" and e.outs[0].type.ndim == 3)
    assert all(heads not in e.ins for e in eqns[copy + 1 :])
    assert "dot" in {e.op.name for e in eqns[: joint.n_known]}  # the border is behind the product


def test_gradients_are_what_they_were():
    random = np.random.default_rng(0)
    w, x = random.standard_normal((32, 4)), random.standard_normal((2, 4, 64, 8))
    _, (of_w, of_x) = ckpt.value_and_grad(merged, argnums=(0, 1))(w, x)
    flat = np.swapaxes(np.tanh(x), 1, 2).reshape(128, 32)
    ct = 2 * flat @ w
    np.testing.assert_allclose(of_w, flat.T @ ct, rtol=1e-10)
    back = np.swapaxes((ct @ w.T).reshape(2, 64, 4, 8), 1, 2)
    np.testing.assert_allclose(of_x, back * (1 - np.tanh(x) ** 2), rtol=1e-10, atol=1e-12)
