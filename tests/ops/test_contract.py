"""`dot` against NumPy's einsum and JAX, its rules against differences and inner products."""

import numpy as np
import pytest

from ckpt.errors import IRTypeError
from ckpt.ir.kernel import Contract
from ckpt.ir.op import Sample
from ckpt.ir.types import DType, Type
from ckpt.ops.contract import Dot

jax = pytest.importorskip("jax")
ALL = list(Dot.samples())
FLOATS = [s for s in ALL if s.ins[0].dtype is DType.F64]


@pytest.mark.parametrize("sample", ALL, ids=str)
def test_impl_agrees_with_jax(rules, sample: Sample):
    rules.types(sample)
    left, right = sample.draw()
    with jax.enable_x64(True):
        axes = (sample.op.contract, sample.op.batch)
        expected = jax.lax.dot_general(left, right, axes, precision="highest")
    out = sample.op.impl(left, right)
    assert out.dtype == expected.dtype
    # a handful of terms of size one: rounding only
    tolerance = 1e-6 if out.dtype == np.float32 else 1e-14
    np.testing.assert_allclose(out, expected, tolerance, tolerance)


@pytest.mark.parametrize("sample", FLOATS, ids=str)
def test_derivatives(rules, sample: Sample):
    rules.jvp(sample)
    rules.jvp(sample, [0])
    rules.jvp(sample, [1])
    rules.adjoint(sample)


def test_transpose_of_a_matrix_product_is_one_let(make_transpose):
    ins = (Type((5, 3), DType.F32), Type((3, 4), DType.F32))
    for op, shapes in [
        (Dot(((1,), (0,))), ((5, 3), (3, 4))),
        (Dot(((0,), (0,))), ((3, 5), (3, 4))),
        (Dot(((1,), (1,))), ((5, 3), (4, 3))),
    ]:
        ins = tuple(Type(shape, DType.F32) for shape in shapes)
        for linear in op.linear_in(2):
            assert [e.op.name for e in make_transpose(op, ins, linear).eqns] == ["dot"]


def test_cost_and_kernel():
    op = Dot(((2,), (1,)), ((0,), (0,)))
    ins = (Type((2, 5, 3), DType.F32), Type((2, 3, 4), DType.F32))
    cost = op.cost(*ins)
    assert cost.flops == 2 * 2 * 5 * 3 * 4
    assert (cost.read_bytes, cost.written_bytes) == (4 * (2 * 5 * 3 + 2 * 3 * 4), 4 * 2 * 5 * 4)
    assert op.lower(*ins) == Contract(((2,), (1,)), ((0,), (0,)))


@pytest.mark.parametrize(
    ("op", "shapes", "why"),
    [
        (Dot(((1,), (0,))), ((2, 3), (4, 5)), "differ in length"),
        (Dot(((1,), (2,))), ((2, 3), (4, 5)), "not all axes of operand 1"),
        (Dot(((-1,), (0,))), ((2, 3), (3, 5)), "not all axes of operand 0"),
        (Dot(((0, 0), (0, 1))), ((3, 3), (3, 3)), "repeat"),
        (Dot(((0,), (0,)), ((0,), (1,))), ((3, 3), (3, 3)), "repeat"),
        (Dot(((0, 1), (0,))), ((3, 3), (3, 3)), "differ in number"),
        (Dot(((), ())), ((3,),), "two operands"),
    ],
)
def test_refusals(op: Dot, shapes, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(*(Type(shape, DType.F32) for shape in shapes))


def test_refuses_mixed_and_bool_operands():
    f32, f64, boolean = (Type((3,), t) for t in (DType.F32, DType.F64, DType.BOOL))
    with pytest.raises(IRTypeError, match="same dtype"):
        Dot(((0,), (0,))).type(f32, f64)
    with pytest.raises(IRTypeError, match="bool"):
        Dot(((0,), (0,))).type(boolean, boolean)
