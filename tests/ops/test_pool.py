"""Pooling against JAX and a loop over windows, and its kernels against NumPy."""

import numpy as np
import pytest

from ckpt.errors import IRTypeError
from ckpt.ir.op import Sample
from ckpt.ir.types import DType, Type
from ckpt.ops.pool import (
    MaxPool,
    MaxPoolIndex,
    PoolGather,
    PoolScatter,
    WindowSpread,
    WindowSum,
)

jax = pytest.importorskip("jax")
EVERY = (MaxPool, MaxPoolIndex, PoolGather, PoolScatter, WindowSum, WindowSpread)
ALL = [s for cls in EVERY for s in cls.samples()]
F64 = [s for s in ALL if s.ins[0].dtype is DType.F64]
PAIR = ((2, 2), (2, 2), ((0, 0), (0, 0)))


def windows(op, x):
    """Each window of an image as (i, j, rows, columns), without what is padding."""
    (r, s), (down, across), (vertical, horizontal) = op.window, op.stride, op.padding
    _, _, high, wide = op.type(Type(x.shape, DType.of(x.dtype))).shape
    for i in range(high):
        for j in range(wide):
            top, left = i * down - vertical[0], j * across - horizontal[0]
            yield i, j, slice(max(top, 0), top + r), slice(max(left, 0), left + s)


@pytest.mark.parametrize("sample", ALL, ids=str)
def test_kernels(rules, sample: Sample):
    rules.types(sample)
    rules.kernel(sample, rtol=0)


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_kernels_cut_into_parts(rules, cls):
    """Images enough for threads to share."""
    images, pooled = Type((7, 12, 30, 20), DType.F64), Type((7, 12, 15, 10), DType.F64)
    where = Type(pooled.shape, DType.I32)
    cases = {
        PoolGather: (PoolGather(), (images, where)),
        PoolScatter: (PoolScatter((30, 20)), (pooled, where)),
        WindowSpread: (WindowSpread(*PAIR, (30, 20)), (pooled,)),
    }
    op, ins = cases[cls] if cls in cases else (cls(*PAIR), (images,))
    assert len(op.lower(*ins).parts) > 1
    rules.kernel(Sample(op, ins, limits=((1, 600),)), rtol=0)


@pytest.mark.parametrize("sample", [s for s in F64 if not isinstance(s.op, MaxPoolIndex)], ids=str)
def test_derivatives(rules, sample: Sample):
    rules.jvp(sample)
    if sample.op.linear_in(1):
        rules.adjoint(sample)


@pytest.mark.parametrize("sample", [s for s in F64 if isinstance(s.op, MaxPool)], ids=str)
def test_maximum_and_its_gradient_agree_with_jax(sample: Sample, rules):
    (x,) = sample.draw()
    op = sample.op
    whole = ((1, 1, *op.window), (1, 1, *op.stride), ((0, 0), (0, 0), *op.padding))
    with jax.enable_x64(True):
        pool = lambda x: jax.lax.reduce_window(x, -np.inf, jax.lax.max, *whole)  # noqa: E731
        y, pull = jax.vjp(pool, x)
        ct = np.random.default_rng(3).uniform(-1, 1, y.shape)
        (expected,) = pull(ct)
    np.testing.assert_array_equal(op.impl(x), y)
    index = MaxPoolIndex(op.window, op.stride, op.padding).impl(x)
    # where windows overlap, terms may be added in another order
    np.testing.assert_allclose(PoolScatter((5, 6)).impl(ct, index), expected, 1e-15, 1e-15)


@pytest.mark.parametrize("sample", [s for s in F64 if isinstance(s.op, WindowSum)], ids=str)
def test_sums_agree_with_jax(sample: Sample):
    (x,) = sample.draw()
    op = sample.op
    whole = ((1, 1, *op.window), (1, 1, *op.stride), ((0, 0), (0, 0), *op.padding))
    with jax.enable_x64(True):
        y = jax.lax.reduce_window(x, 0.0, jax.lax.add, *whole)
    np.testing.assert_allclose(op.impl(x), y, 1e-14, 1e-14)  # thirty terms of size one


@pytest.mark.parametrize("sample", list(MaxPoolIndex.samples()), ids=str)
def test_ties_nan_and_infinity(rules, sample: Sample):
    """The first maximum wins, the first NaN before it; padding never does."""
    random = np.random.default_rng(5)
    x = random.choice(np.float64([-np.inf, -np.inf, 1, 2, np.nan]), sample.ins[0].shape)
    op = sample.op
    expected = np.empty(op.type(Type(x.shape, DType.F64)).shape, np.int32)
    places = np.arange(30).reshape(5, 6)
    for n, image in enumerate(x):
        for c, channel in enumerate(image):
            for i, j, rows, columns in windows(op, x):
                first = np.argmax(channel[rows, columns])
                expected[n, c, i, j] = places[rows, columns].flat[first]
    np.testing.assert_array_equal(op.impl(x), expected)
    np.testing.assert_array_equal(rules.run(op, (x,))[0], expected)
    pool = MaxPool(op.window, op.stride, op.padding)
    maximum = PoolGather().impl(x, expected)
    np.testing.assert_array_equal(pool.impl(x), maximum)
    np.testing.assert_array_equal(rules.run(pool, (x,))[0], maximum)


def test_positions_outside_are_ignored(rules):
    x = np.arange(6.0).reshape(1, 1, 2, 3)
    index = np.int32([[[[-1, 5], [6, 0]]]])
    gathered = np.float64([[[[0, 5], [0, 0]]]])
    scattered = np.float64([[[[4, 0, 0], [0, 0, 2]]]])
    y = np.float64([[[[1, 2], [3, 4]]]])
    for run in (rules.run, lambda op, args: (op.impl(*args),)):
        np.testing.assert_array_equal(run(PoolGather(), (x, index))[0], gathered)
        np.testing.assert_array_equal(run(PoolScatter((2, 3)), (y, index))[0], scattered)


@pytest.mark.parametrize(
    ("op", "shape", "dtype", "why"),
    [
        (MaxPool(*PAIR), (2, 5, 6), DType.F32, "four axes"),
        (MaxPool(*PAIR), (1, 1, 5, 6), DType.BOOL, "cast"),
        (MaxPool(*PAIR), (1, 1, 0, 6), DType.F32, "empty"),
        (MaxPool(*PAIR), (1, 1, 1, 6), DType.F32, "does not fit"),
        (WindowSum((2, 2), (0, 1), PAIR[2]), (1, 1, 5, 6), DType.F32, "at least 1"),
        (WindowSum((2, 2), (1, 1), ((-1, 0), (0, 0))), (1, 1, 5, 6), DType.F32, "negative"),
        (WindowSum((2, 2), (1, 1), ((0, 2), (0, 0))), (1, 1, 5, 6), DType.F32, "less than"),
        (WindowSpread(*PAIR, (5, 6)), (1, 1, 2, 2), DType.F32, "other windows"),
    ],
)
def test_refusals(op, shape, dtype: DType, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(Type(shape, dtype))


def test_refusals_of_positions():
    x, index = Type((1, 2, 3, 4), DType.F32), Type((1, 2, 2, 2), DType.I32)
    for op, ins, why in (
        (PoolGather(), (x, index.cast(DType.I64)), "i32"),
        (PoolGather(), (x, index.reshaped((2, 2, 2, 2))), "leading axes"),
        (PoolScatter((3, 4)), (x, index), "differ in shape"),
        (PoolScatter((3, -4)), (index.cast(DType.F32), index), "negative"),
    ):
        with pytest.raises(IRTypeError, match=why):
            op.type(*ins)
