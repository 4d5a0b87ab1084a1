"""Contractions as matrix products: what BLAS reads in place, and the scratch that packing needs."""

import numpy as np
import pytest

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.cost.contraction import Axes, product, uses_blas
from ckpt.cost.scratch import scratch_bytes
from ckpt.ir.kernel import Contract
from ckpt.ir.layout import Layout
from ckpt.ir.storage import storage
from ckpt.ir.text import parse
from ckpt.ir.types import DType, Type


@pytest.mark.parametrize(
    ("sizes", "strides", "merged"),
    [
        ((), (), 0),
        ((1, 1), (5, 7), 0),
        ((2, 3), (3, 1), 1),
        ((2, 1, 3), (6, 99, 2), 2),
        ((2, 3), (4, 1), None),
        ((2, 3), (0, 0), 0),
        ((2, 3), (-3, -1), -1),
    ],
)
def test_axes_merge_when_one_stride_walks_through_all(sizes, strides, merged):
    assert Axes(sizes, strides).merged() == merged
    if merged is not None:
        places = {tuple(i): int(np.dot(i, strides)) for i in np.ndindex(*sizes)}
        if all(n > 1 for n in sizes):
            assert list(places.values()) == [merged * k for k in range(len(places))]


def form(left, right, contract, batch=((), ()), layouts=None):
    types = [Type(s, DType.F32) for s in (left, right)]
    given = layouts or [Layout.contiguous(s) for s in (left, right)]
    return product(Contract(contract, batch), types, given)


def test_transposes_are_flags():
    plain = form((5, 3), (3, 4), ((1,), (0,)))
    assert (plain.left.matrix(), plain.right.matrix()) == ((3, False), (4, True))
    turned = form((3, 5), (4, 3), ((0,), (1,)))
    assert (turned.left.matrix(), turned.right.matrix()) == ((5, True), (3, False))
    assert (plain.m, plain.n, plain.k) == (turned.m, turned.n, turned.k) == (5, 4, 3)


def test_heads_are_read_off_a_packed_buffer():
    # q, k, v of 2 heads with 4 elements each, side by side in rows of 24
    strides = Layout(0, (5 * 24, 4, 24, 1))
    scores = form((3, 2, 5, 4), (3, 2, 5, 4), ((3,), (3,)), ((0, 1), (0, 1)), [strides, strides])
    assert scores.left.matrix() == (24, False)
    assert scores.left.batch == Axes((3, 2), (120, 4))


def test_operands_that_blas_cannot_read_are_packed():
    both = Layout(0, (8, 2))  # every second column
    strided = form((5, 4), (4, 6), ((1,), (0,)), layouts=[both, Layout.contiguous((4, 6))])
    assert strided.left.matrix() is None
    assert strided.left.packed().matrix() == (4, False)
    reversed_rows = form(
        (5, 4), (4, 6), ((1,), (0,)), layouts=[Layout(16, (-4, 1)), Layout.contiguous((4, 6))]
    )
    assert reversed_rows.left.matrix() is None


def test_small_and_integer_products_are_loops():
    assert uses_blas(form((8, 8), (8, 8), ((1,), (0,))), True)
    assert not uses_blas(form((8, 8), (8, 8), ((1,), (0,))), False)
    assert not uses_blas(form((4, 4), (4, 4), ((1,), (0,))), True)
    assert not uses_blas(form((99,), (99,), ((), ())), True)  # an outer product sums nothing


def test_scratch_is_the_packed_operands():
    text = """f(x: f32[40,20], w: f32[20,24]) -> (f32[20,12]) {
      a: f32[20,20] = slice[start=(0,0), stop=(40,20), step=(2,1)] x
      b: f32[20,12] = slice[start=(0,0), stop=(20,24), step=(1,2)] w
      y = dot[contract=((1,),(0,)),batch=((),())] a b
      return y
    }"""
    program = parse(text)
    assert scratch_bytes(program.eqns[2], storage(program)) == 20 * 12 * 4
    turned = parse(text.replace("step=(2,1)", "step=(1,1)").replace("stop=(40,20)", "stop=(20,20)"))
    assert scratch_bytes(turned.eqns[2], storage(turned)) == 20 * 12 * 4
