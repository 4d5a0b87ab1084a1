"""The three convolutions against JAX, against one another, and their kernels against NumPy."""

import numpy as np
import pytest

from ckpt.codegen.gathered import gathered_product
from ckpt.codegen.registers import MOST_ROWS
from ckpt.errors import IRTypeError
from ckpt.ir.op import Sample
from ckpt.ir.types import DType, Type
from ckpt.ops.convolve import Conv, ConvInput, ConvKernel, window_count

jax = pytest.importorskip("jax")
ALL = [s for cls in (Conv, ConvInput, ConvKernel) for s in cls.samples()]
FLOATS = [s for s in ALL if s.ins[0].dtype is DType.F64]
PLAIN = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)


def by_jax(op, x, w):
    return jax.lax.conv_general_dilated(
        x,
        w,
        op.stride,
        op.padding,
        rhs_dilation=op.dilation,
        feature_group_count=op.groups,
        precision="highest",
    )


@pytest.mark.parametrize("sample", [s for s in Conv.samples() if s.ins[0].size], ids=str)
def test_all_three_agree_with_jax(sample: Sample):
    x, w = sample.draw()
    op = sample.op
    with jax.enable_x64(True):
        y, pull = jax.vjp(lambda x, w: by_jax(op, x, w), x, w)
        ct = np.asarray(np.random.default_rng(1).uniform(-1, 1, y.shape), x.dtype)
        ct_x, ct_w = pull(ct)
    params = (op.stride, op.padding, op.dilation, op.groups)
    # sums of a few dozen terms of size one
    tolerance = 1e-5 if x.dtype == np.float32 else 1e-13
    found = op.impl(x, w)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, y, tolerance, tolerance)
    found = ConvInput(*params, x.shape[2:]).impl(ct, w)
    np.testing.assert_allclose(found, ct_x, tolerance, tolerance)
    found = ConvKernel(*params, w.shape[2:]).impl(x, ct)
    np.testing.assert_allclose(found, ct_w, tolerance, tolerance)


@pytest.mark.parametrize("sample", FLOATS, ids=str)
def test_derivatives(rules, sample: Sample):
    rules.jvp(sample)
    rules.jvp(sample, [0])
    rules.jvp(sample, [1])
    rules.adjoint(sample)


@pytest.mark.parametrize("sample", ALL, ids=str)
def test_kernels(rules, sample: Sample):
    rules.types(sample)
    rules.kernel(sample)


@pytest.mark.parametrize(
    ("stride", "dilation", "groups"), [((1, 1), (1, 1), 1), ((2, 1), (1, 2), 2)]
)
def test_kernels_cut_into_blocks_and_parts(rules, stride, dilation, groups):
    """Channels, results and places exceed a block, and there are parts for threads."""
    params = (stride, ((1, 2), (2, 1)), dilation, groups)
    x, w = Type((2, 120, 60, 24), DType.F64), Type((262, 120 // groups, 3, 3), DType.F64)
    y = Conv(*params).type(x, w)
    for op, ins in (
        (Conv(*params), (x, w)),
        (ConvInput(*params, x.shape[2:]), (y, w)),
        (ConvKernel(*params, w.shape[2:]), (x, y)),
    ):
        lowered = op.lower(*ins)
        channels, panel_bytes, rows, _ = lowered.params[-1]
        assert channels < w.shape[1]
        assert panel_bytes // 8 < w.shape[0] // groups
        assert rows < y.shape[2]
        assert len(lowered.parts) > 1
        rules.kernel(Sample(op, ins), rtol=1e-10)  # a thousand terms of size one


@pytest.mark.parametrize("panel", [64, 128, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gathered_products(panel: int, dtype):
    """Any terms from anywhere; a row's bits do not depend on the rows beside it."""
    rng = np.random.default_rng(panel)
    item = np.dtype(dtype).itemsize
    x = rng.uniform(-1, 1, 500).astype(dtype)
    for n, k in ((1, 1), (7, 0), (23, 3), (30, 700)):
        a = rng.uniform(-1, 1, (k, panel // item)).astype(dtype)
        bases, offsets = rng.integers(0, 250, n + MOST_ROWS), rng.integers(0, 250, k)
        acc = rng.uniform(-1, 1, (n + MOST_ROWS, panel // item)).astype(dtype)
        expected = acc[:n] + x[bases[:n, None] + offsets].astype(np.float64) @ a
        places = (bases * item).astype(np.int64), (offsets * item).astype(np.int64)

        def run(first: int, n_rows: int, acc=acc, a=a, places=places, k=k):
            found = acc.copy()
            addresses = [v.ctypes.data for v in (a, x, *places, found)]
            addresses[2] += 8 * first
            addresses[4] += panel * first
            a_at, x_at, bases_at, offsets_at, acc_at = addresses
            tables = (bases_at, offsets_at)
            gathered_product(item, panel, (n_rows, k), a_at, x_at, tables, acc_at)
            return found

        found = run(0, n)
        tolerance = 50 * np.finfo(dtype).eps * max(1, k) ** 0.5
        np.testing.assert_allclose(found[:n], expected, tolerance, tolerance)
        np.testing.assert_array_equal(run(n // 2, 1)[n // 2], found[n // 2])


def test_transposes_are_single_lets(make_transpose):
    x, w = Type((2, 3, 5, 6), DType.F32), Type((4, 3, 3, 2), DType.F32)
    op = Conv(*PLAIN)
    for linear, name in ((0, "conv_input"), (1, "conv_kernel")):
        program = make_transpose(op, (x, w), frozenset({linear}))
        assert [e.op.name for e in program.eqns] == [name]


def test_nan_stays_in_its_windows(rules):
    x = np.zeros((1, 1, 5, 5))
    x[0, 0, 0, 0] = np.nan
    w = np.ones((1, 1, 2, 2))
    expected = np.zeros((1, 1, 4, 4))
    expected[0, 0, 0, 0] = np.nan
    np.testing.assert_array_equal(Conv(*PLAIN).impl(x, w), expected)
    np.testing.assert_array_equal(rules.run(Conv(*PLAIN), (x, w))[0], expected)


def test_cost_and_scratch():
    x, w = Type((8, 64, 32, 32), DType.F32), Type((64, 64, 3, 3), DType.F32)
    op = Conv((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    cost = op.cost(x, w)
    assert cost.flops == 2 * 8 * 64 * 32 * 32 * 64 * 9
    assert cost.scratch_bytes == op.lower(x, w).scratch_bytes
    assert cost.scratch_bytes < x.nbytes / 3
    assert window_count(32, 3, 1, (1, 1)) == 32


@pytest.mark.parametrize(
    ("op", "shapes", "why"),
    [
        (Conv(*PLAIN), ((2, 3, 5, 5), (4, 2, 3, 3)), "3 input channels"),
        (Conv(*PLAIN), ((2, 3, 2, 5), (4, 3, 3, 3)), "does not fit"),
        (Conv(*PLAIN), ((2, 3, 5), (4, 3, 3)), "four axes"),
        (Conv(*PLAIN), ((2, 3, 5, 5), (4, 3, 0, 3)), "empty window"),
        (Conv((0, 1), *PLAIN[1:]), ((2, 3, 5, 5), (4, 3, 3, 3)), "at least 1"),
        (Conv((1, 1), ((-1, 0), (0, 0)), (1, 1), 1), ((2, 3, 5, 5), (4, 3, 3, 3)), "negative"),
        (Conv(*PLAIN[:3], 3), ((2, 3, 5, 5), (4, 1, 3, 3)), "do not divide"),
        (ConvInput(*PLAIN, (6, 5)), ((2, 4, 3, 3), (4, 3, 3, 3)), "do not belong together"),
        (ConvKernel(*PLAIN, (3, 3)), ((2, 3, 5, 5), (1, 4, 3, 3)), "do not belong together"),
    ],
)
def test_refusals(op, shapes, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(*(Type(shape, DType.F32) for shape in shapes))


def test_refuses_integers_and_mixed_dtypes():
    f32, f64, i32 = (Type((1, 1, 2, 2), t) for t in (DType.F32, DType.F64, DType.I32))
    with pytest.raises(IRTypeError, match="same dtype"):
        Conv(*PLAIN).type(f32, f64)
    with pytest.raises(IRTypeError, match="floats"):
        Conv(*PLAIN).type(i32, i32)
