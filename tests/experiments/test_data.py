"""The digits: one split for all, and batches that deal every example."""

import itertools

import numpy as np
import pytest

from experiments.data import DataError, Examples, digits


def test_the_split_is_fixed_stratified_and_apart():
    train, test = digits()
    assert (len(train), len(test)) == (1437, 360)
    counts = np.bincount(test.labels, minlength=10)
    whole = counts + np.bincount(train.labels, minlength=10)
    assert np.abs(counts - 0.2 * whole).max() <= 1
    again, tested = digits()
    assert np.array_equal(train.images, again.images)
    assert np.array_equal(test.images, tested.images)
    assert train.images.min() == -1
    assert train.images.max() == 1


def test_an_epoch_deals_every_example_once():
    examples = Examples(np.arange(12.0).reshape(12, 1, 1), np.arange(12, dtype=np.int32))
    dealt = list(itertools.islice(examples.deal(4, seed=1), 6))
    first, second = (np.concatenate([y for _, y in dealt[i : i + 3]]) for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(first) != list(second)
    assert all(np.array_equal(x[:, 0, 0], y) for x, y in dealt)
    again = list(itertools.islice(examples.deal(4, seed=1), 6))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(dealt, again, strict=True))


def test_a_batch_that_is_too_large():
    examples = Examples(np.zeros((3, 1, 1)), np.zeros(3, np.int32))
    with pytest.raises(DataError, match="batch of 4 is more than the 3"):
        next(examples.deal(4, seed=0))


def test_shapes():
    train, _ = digits()
    assert train.shaped((1, 8, 8), "float32").images.dtype == np.float32
    assert train.shaped((64,), "float64").images.shape == (1437, 64)
    with pytest.raises(DataError, match="8 x 8 = 64 pixels"):
        train.shaped((3, 8, 8), "float32")
