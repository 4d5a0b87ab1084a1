"""Shape ops: which reshapes are views, edges of slices and pads, concatenation, slice update."""

import numpy as np
import pytest

from ckpt.errors import IRTypeError
from ckpt.ir.build import Builder
from ckpt.ir.interpret import interpret
from ckpt.ir.kernel import Copy, Map, NoKernel
from ckpt.ir.layout import Layout
from ckpt.ir.op import Op
from ckpt.ir.types import DType, Type
from ckpt.ops.broadcast import Broadcast
from ckpt.ops.iota import Iota
from ckpt.ops.pieces import Concatenate, UpdateSlice
from ckpt.ops.shape import Flip, Pad, Permute, Reshape, Slice


@pytest.mark.parametrize(
    ("shape", "strides", "new", "expected"),
    [
        ((2, 3), (3, 1), (6,), (1,)),
        ((2, 3), (1, 2), (6,), None),  # a transposed matrix
        ((2, 3), (1, 2), (2, 3, 1), (1, 2, 0)),
        ((2, 3, 4), (100, 4, 1), (2, 12), (100, 1)),  # rows with gaps between them
        ((2, 3, 4), (100, 4, 1), (6, 4), None),
        ((2, 12), (100, 1), (2, 3, 4), (100, 4, 1)),
        ((6,), (-1,), (2, 3), (-3, -1)),  # reversed
        ((2, 3), (0, 0), (6,), (0,)),  # a scalar everywhere
        ((2, 3), (0, 1), (6,), None),
        ((4, 6), (6, 1), (2, 12), (12, 1)),
        ((4, 6), (6, 1), (3, 8), (8, 1)),
        ((1, 5, 1), (7, 2, 9), (5,), (2,)),
        ((), (), (1, 1), (0, 0)),
        ((0, 3), (5, 7), (3, 0), (0, 1)),
    ],
)
def test_which_reshapes_are_views(shape, strides, new, expected):
    view = Reshape(new).view([Layout(5, strides)], [Type(shape, DType.F32)])
    assert view == (None if expected is None else Layout(5, expected))


def test_views_have_no_kernel_and_literals_are_written():
    x, scalar = Type((2, 3), DType.F32), Type((), DType.F32)
    for op in (
        Permute((1, 0)),
        Flip((0,)),
        Slice((0, 0), (1, 1), (1, 1)),
        Broadcast((4, 2, 3), (1, 2)),
    ):
        assert isinstance(op.lower(x), NoKernel)
        assert op.cost(x).written_bytes == 0
    assert Reshape((6,)).lower(x) == Copy()
    assert Broadcast((2, 3), ()).lower(scalar) == Map("copy")


@pytest.mark.parametrize(
    ("start", "stop", "step", "n"),
    [
        (0, 7, 1, 7),
        (1, 6, 2, 7),
        (1, 7, 2, 7),
        (0, 7, 3, 7),
        (6, 7, 5, 7),
        (3, 3, 1, 7),
        (0, 0, 4, 0),
    ],
)
def test_slices_and_pads_undo_one_another(make_transpose, start, stop, step, n):
    op, x = Slice((start,), (stop,), (step,)), Type((n,), DType.F64)
    program = make_transpose(op, [x], frozenset({0}))
    (pad,) = [e.op for e in program.eqns]
    expected = np.zeros(n)
    part = np.arange(1.0, 1 + len(range(start, stop, step)))
    expected[start:stop:step] = part
    np.testing.assert_array_equal(interpret(program, part)[0], expected)
    back = make_transpose(pad, [Type(part.shape, DType.F64)], frozenset({0}))
    np.testing.assert_array_equal(interpret(back, expected)[0], part)


@pytest.mark.parametrize(
    ("active", "lets"),
    [
        ([0, 1, 2], ["concatenate"]),
        ([0], ["pad"]),
        ([1], ["pad"]),
        ([1, 2], ["concatenate", "pad"]),
        ([0, 2], ["zero", "concatenate"]),
    ],
)
def test_absent_tangents_of_concatenate_are_padding(make_jvp, active, lets):
    types = [Type((n, 2), DType.F64) for n in (1, 2, 3)]
    program = make_jvp(Concatenate(0), types, active)
    assert [e.op.name for e in program.eqns] == ["concatenate", *lets]
    args = [np.zeros(t.shape) for t in types]
    dargs = {i: np.full(types[i].shape, i + 1.0) for i in active}
    expected = np.concatenate([dargs.get(i, x) for i, x in enumerate(args)])
    out = interpret(program, *args, *dargs.values())[1]
    np.testing.assert_array_equal(out, expected)


def test_update_slice_leaves_its_operand_alone_and_stops_its_gradient(make_transpose):
    op = UpdateSlice((1,), (2,))
    x, u = np.arange(6.0), np.array([-1.0, -2.0])
    np.testing.assert_array_equal(op.impl(x, u), [0, -1, 2, -2, 4, 5])
    np.testing.assert_array_equal(x, np.arange(6.0))
    types = [Type((6,), DType.F64), Type((2,), DType.F64)]
    program = make_transpose(op, types, frozenset({0, 1}))
    ct_x, ct_u = interpret(program, np.arange(1.0, 7))
    np.testing.assert_array_equal(ct_x, [1, 0, 3, 0, 5, 6])
    np.testing.assert_array_equal(ct_u, [2, 4])


def test_update_slice_kernel_works_in_place():
    from ckpt.codegen.library.update_slice import update_slice

    x = np.arange(6.0)
    update_slice(x, np.array([-1.0, -2.0]), x, 1, (2,))
    np.testing.assert_array_equal(x, [0, -1, 2, -2, 4, 5])


def test_iota_counts_exactly():
    out = Iota((2, 3), 1, DType.F32).impl()
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, [[0, 1, 2]] * 2)


def test_a_zero_leaves_no_trace_when_transposed():
    from ckpt.ad.transpose import transpose

    b = Builder("t")
    dx = b.input(Type((2,), DType.F64, linear=True))
    zero = b.zero(dx.type)
    out = transpose(b.build([b.sum_of(dx, zero)]))
    assert out.eqns == ()
    assert out.outs == out.ins


@pytest.mark.parametrize(
    ("op", "types", "why"),
    [
        (Reshape((4,)), [(2, 3)], "no \\(4,\\)"),
        (Reshape((-1,)), [(2, 3)], "bad shape"),
        (Permute((0, 0)), [(2, 3)], "each axis once"),
        (Flip((2,)), [(2, 3)], "distinct axes"),
        (Flip((0, 0)), [(2, 3)], "distinct axes"),
        (Slice((0,), (2,), (1,)), [(2, 3)], "bound per axis"),
        (Slice((0,), (3,), (1,)), [(2,)], "stop <= length"),
        (Slice((0,), (2,), (0,)), [(2,)], "positive"),
        (Pad((-1,), (0,), (0,)), [(2,)], "never negative"),
        (Pad((0,), (0,), (0, 1)), [(2,)], "width per axis"),
        (Concatenate(0), [], "needs an operand"),
        (Concatenate(1), [(2,), (2,)], "no axis 1"),
        (Concatenate(0), [(2, 3), (2, 4)], "along axis 0 only"),
        (Concatenate(0), [(2, 3), (2,)], "along axis 0 only"),
        (UpdateSlice((), ()), [(), ()], "no slices"),
        (UpdateSlice((2,), (1,)), [(3,), (2,)], "leaves it"),
        (UpdateSlice((0,), (1,)), [(3,), (2, 1)], "per axis are needed"),
        (Iota((2,), 1, DType.I64), [], "no such axis"),
        (Iota((2,), 0, DType.BOOL), [], "cannot count"),
    ],
)
def test_refusals(op: Op, types, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(*(Type(shape, DType.F32) for shape in types))
