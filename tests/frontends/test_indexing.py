"""Indexing and functional updates against NumPy: chosen cases, then random ones."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt.errors import TraceError, UnsupportedOpError
from ckpt.frontends.updates import scatter_add, update

X = np.arange(120.0).reshape(4, 5, 6)
I = np.asarray([0, 3, -1])
MASK = np.arange(20).reshape(4, 5) % 3 == 0

INDICES = [
    0,
    -1,
    np.int32(2),
    (1, 2, 3),
    (slice(1, 3),),
    (slice(None), 2),
    (..., 1),
    (slice(None, None, -1), slice(3, 0, -2)),
    (slice(None, None, 2), None, slice(1, None, 3), 0),
    (None, ..., None),
    slice(3, 1),
    slice(10, -10, -3),
    (slice(2, 2), slice(None)),
    I,
    (I, I),
    (slice(None), I),
    (I, slice(None), I),
    (0, slice(None), I),
    (I, slice(None), 0),
    (slice(None), 0, I),
    (slice(None), I, 0),
    (0, I, slice(1, 3)),
    (0, I, slice(None, None, -1)),
    (I[:, None], I),
    (I[:, None], slice(None), I[:2]),
    (slice(1, 4), I, I),
    (slice(1, 4), I[:, None], I[:2]),
    (None, I, slice(None), None, I),
    (None, I, None, I, slice(None)),
    (slice(None), None, I),
    (I, None, I),
    (I, ...),
    (..., I, None),
    [0, 2, 2],
    ([0, 1], [1, 2]),
    [],
    (slice(None), []),
    np.zeros((2, 0), int),
    MASK,
    (MASK, slice(1, 3)),
    (slice(None), MASK[:, 0].repeat(2)[:5]),
    (MASK[:, 1], slice(None), I[:1]),
    np.zeros((4, 5), bool),
    (np.asarray(1), slice(None), I),
    (np.uint8([1, 2]), 0),
    (0, 0, 0),
    (),
    ...,
]


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_read(same, index):
    same(lambda x: x[index], X)


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_write(run, index):
    for value in (
        7.5,
        np.full(X[index].shape, 2.0) + np.arange(X[index].size).reshape(X[index].shape),
    ):
        wanted = X.copy()
        wanted[index] = value
        np.testing.assert_array_equal(run(lambda x, v: x.at[index].set(v), X, value), wanted)
        wanted = X.copy()
        np.add.at(wanted, index, value)
        np.testing.assert_array_equal(run(lambda x, v: x.at[index].add(v), X, value), wanted)
        wanted = X.copy()
        wanted[index] *= value
        np.testing.assert_array_equal(run(lambda x, v: x.at[index].multiply(v), X, value), wanted)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, i: x[i],
        lambda x, i: x[i, i],
        lambda x, i: x[:, i],
        lambda x, i: x[i, :, i],
        lambda x, i: x[0, :, i],
        lambda x, i: x[i[:, None], :, i],
        lambda x, i: x[i, None, np.asarray([0, 1, -1])],
        lambda x, i: x[i[0]],
        lambda x, i: x[i[0], 1, i[1]],
        lambda x, i: x[i[0], :, i[1]],
        lambda x, i: x[i[0], :, i],
        lambda x, i: x[::2, i[0], ::-1],
        lambda x, i: np.take(x, i, 1),
    ],
)
@pytest.mark.parametrize("dtype", ["i4", "i8"])
def test_traced_indices(same, f, dtype):
    same(f, X, I.astype(dtype))


def test_traced_writes(run):
    wanted = X.copy()
    np.add.at(wanted, (I, slice(None), I), 2.0)
    found = run(lambda x, i: x.at[i, :, i].add(2.0), X, I)
    np.testing.assert_array_equal(found, wanted)
    wanted = X.copy()
    wanted[3, :, 1] = np.arange(5.0)
    found = run(lambda x, i: x.at[i, :, i - 2].set(np.arange(5)), X, 3)
    np.testing.assert_array_equal(found, wanted)


def test_the_last_write_stands(run):
    found = run(lambda x: update(x, [1, 1, 1], np.asarray([[1.0], [2.0], [3.0]])), X[0])
    np.testing.assert_array_equal(found[1], 3.0)


def test_values_are_cast_as_numpy_casts_them(run):
    whole = np.arange(4)
    np.testing.assert_array_equal(run(lambda x: update(x, 1, 2.75), whole), [0, 2, 2, 3])
    assert run(lambda x: scatter_add(x, 1, 2), np.float32([1, 2])).dtype == np.float32
    with pytest.raises(TypeError, match="without rounding"):
        run(lambda x: scatter_add(x, 1, 2.5), whole)


def test_take(same):
    same(lambda x: (np.take(x, I), np.take(x, I, 0), x.take(I, -1), np.take(x, 2, 1)), X)
    same(lambda x: (np.take(x, [9, -9], 0, mode="clip"), np.take(x, [9, -9], 0, mode="wrap")), X)
    same(lambda x: np.take(x, I[:, None] * [0, 1], 1), X)


def test_take_along_axis(same):
    order = np.argsort(-X, axis=1)
    same(lambda x, i: np.take_along_axis(x, i, 1), X, order)
    same(lambda x: np.take_along_axis(x, order[:1, :2, :1], 1), X)
    same(lambda x: np.take_along_axis(x[:1], order[:, :2], 1), X)
    same(lambda x: np.take_along_axis(x, I, None), X)


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: x[9], IndexError, "index 9 is out of bounds for axis 0 with size 4"),
        (lambda x: x[:, [7]], IndexError, "index 7 is out of bounds for axis 1"),
        (lambda x: x[0, 0, 0, 0], IndexError, "too many indices"),
        (lambda x: x[..., ...], IndexError, "single ellipsis"),
        (lambda x: x[1.5], IndexError, "integer"),
        (lambda x: x[x], IndexError, "integer"),
        (lambda x: x[x > 0], TraceError, r"np\.where\(mask, x, otherwise\)"),
        (lambda x: x[x[0, 0, 0].astype(int) :], TraceError, r"np\.arange\(length\)"),
        (lambda x: x[True], UnsupportedOpError, "single bool"),
        (lambda x: x.at[0].set(np.ones(9)), ValueError, "does not broadcast"),
    ],
)
def test_errors(run, f, error, message):
    with pytest.raises(error, match=message):
        run(f, X)


@st.composite
def indices(draw, shape):
    """A random index: integers, slices, None, index arrays of one broadcast shape."""
    broadcast = draw(st.sampled_from([(3,), (2, 3), (1,), (0,)]))
    n_axes = draw(st.integers(0, len(shape)))
    ellipsis_at = draw(st.integers(0, n_axes))
    entries = []
    for axis in range(n_axes):
        if axis == ellipsis_at and draw(st.booleans()):
            entries.append(...)
            break
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "slice", "array", "none"]))
        if kind == "none":
            entries.append(None)
        if kind == "int" and n:
            entries.append(draw(st.integers(-n, n - 1)))
        elif kind == "array" and n:
            values = draw(st.lists(st.integers(-n, n - 1), min_size=6, max_size=6))
            wanted = draw(st.sampled_from([broadcast, broadcast[-1:], ()]))
            entries.append(np.resize(np.asarray(values), wanted))
        else:
            bound = st.none() | st.integers(-n - 2, n + 2)
            step = draw(st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))
            entries.append(slice(draw(bound), draw(bound), step))
    return tuple(entries)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_indices(same, run, data):
    shape = data.draw(st.sampled_from([(3, 4, 2), (5,), (2, 1, 3, 2), (0, 3), ()]))
    x = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    index = data.draw(indices(shape))
    same(lambda x: x[index], x)
    value = np.arange(1.0, x[index].size + 1).reshape(np.shape(x[index]))
    wanted = x.copy()
    wanted[index] = value
    np.testing.assert_array_equal(run(lambda x, v: x.at[index].set(v), x, value), wanted)
    wanted = x.copy()
    np.add.at(wanted, index, value)
    np.testing.assert_array_equal(run(lambda x, v: x.at[index].add(v), x, value), wanted)
