"""Cross-entropy and its relatives: which spellings keep one number a row, and which must not."""

import numpy as np
import optree
import pytest

import ckpt
import ckpt.numpy as cnp

ROWS, CLASSES = 6, 9


def by_take(x, y):
    return -np.mean(np.take_along_axis(cnp.log_softmax(x), y[:, None], axis=-1))


def by_index(x, y):
    return -np.mean(cnp.log_softmax(x)[np.arange(ROWS), y])


def by_one_hot(x, y):
    return -np.sum(cnp.one_hot(y, CLASSES, dtype=x.dtype) * cnp.log_softmax(x)) / ROWS


def by_logsumexp(x, y):
    return np.mean(cnp.logsumexp(x, axis=-1) - x[np.arange(ROWS), y])


def by_hand(x, y):
    top = x.max(1, keepdims=True)
    total = np.exp(x - top).sum(1, keepdims=True)
    return np.mean(np.log(total) + top - np.take_along_axis(x, y[:, None], axis=1))


def columns(x, y):
    return -np.mean(np.take_along_axis(cnp.log_softmax(x.T, axis=0), y[None], axis=0))


def three_axes(x, y):
    logits, labels = x.reshape(2, 3, CLASSES), y.reshape(2, 3)
    return -np.mean(np.take_along_axis(cnp.log_softmax(logits), labels[..., None], -1))


def weighted(x, y):
    """Every class counts, as in distillation."""
    return -np.sum(cnp.log_softmax(x) * np.linspace(0, 1, CLASSES)) + 0.0 * y[0]


SPELLINGS = (by_take, by_index, by_one_hot, by_logsumexp, by_hand, columns, three_axes, weighted)


def with_softmax(x, y):
    """The softmax itself is a result: exponentials exist anyway."""
    powers = np.exp(x - x.max(1, keepdims=True))
    total = powers.sum(1, keepdims=True)
    loss = np.mean(np.log(total) + x.max(1, keepdims=True))
    return loss + np.sum((powers / total) ** 2) + 0.0 * y[0]


def without_top(x, y):
    return np.mean(np.log(np.exp(x).sum(-1)) - x[np.arange(ROWS), y])


def another_top(x, y):
    top = x.min(1, keepdims=True)
    return np.mean(np.log(np.exp(x - top).sum(1, keepdims=True)) + top) + 0.0 * y[0]


def top_added_twice(x, y):
    top = x.max(1, keepdims=True)
    return np.mean(np.log(np.exp(x - top).sum(1, keepdims=True)) + 2.0 * top) + 0.0 * y[0]


def of_squares(x, y):
    top = x.max(1, keepdims=True)
    return np.mean(np.log(np.square(x - top).sum(1, keepdims=True)) + top) + 0.0 * y[0]


def all_rows_together(x, y):
    top = x.max(1, keepdims=True)
    return np.mean(np.log(np.exp(x - top).sum()) + top) + 0.0 * y[0]


NEAR_MISSES = (with_softmax, without_top, another_top, top_added_twice, of_squares)


def arguments(dtype=np.float64, rows=ROWS):
    random = np.random.default_rng(0)
    return random.standard_normal((rows, CLASSES)).astype(dtype), random.integers(0, CLASSES, rows)


def ops_of(loss, args):
    step = ckpt.value_and_grad(loss, fusion=False)
    return [eqn.op.name for eqn in step.joint_for(*args).program.eqns]


def both(loss, args):
    return [
        optree.tree_leaves(ckpt.value_and_grad(loss, patterns=patterns)(*args))
        for patterns in (True, False)
    ]


@pytest.mark.parametrize("loss", SPELLINGS, ids=lambda f: f.__name__)
def test_spellings_are_recognised_and_keep_their_meaning(loss):
    args = arguments()
    ops = ops_of(loss, args)
    assert ops.count("log_sum_exp") == 1
    assert ops.count("exp") == 1  # of the derivative, from one number a row
    for got, want in zip(*both(loss, args), strict=True):
        np.testing.assert_allclose(got, want, 1e-12, 1e-13)


@pytest.mark.parametrize("loss", [*NEAR_MISSES, all_rows_together], ids=lambda f: f.__name__)
def test_near_misses_are_left_as_they_are(loss):
    args = arguments()
    assert "log_sum_exp" not in ops_of(loss, args)
    for got, want in zip(*both(loss, args), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinite_logits_mean_what_they_did(dtype):
    x, _ = arguments(dtype)
    x[0], x[1, 3], x[2, 4] = -np.inf, np.inf, -np.inf
    for reduce in (cnp.logsumexp, lambda v, axis: (cnp.log_softmax(v, axis) * (v > 0)).sum(1)):
        found = [ckpt.compile(lambda v, r=reduce: r(v, axis=1), patterns=p)(x) for p in (1, 0)]
        np.testing.assert_allclose(*found, 1e-6)
    assert ckpt.compile(lambda v: cnp.logsumexp(v, axis=1))(x)[0] == -np.inf


def test_indices_that_count_from_the_end_pick_what_they_did():
    x, y = arguments()
    y = y - CLASSES * (y % 2)
    assert (y < 0).any()
    for loss in (by_take, by_index):
        for got, want in zip(*both(loss, (x, y)), strict=True):
            np.testing.assert_allclose(got, want, 1e-12, 1e-13)


def test_second_derivatives_agree():
    x, y = arguments()

    def slope(v, patterns):
        return np.sum(np.sin(ckpt.grad(by_take, patterns=patterns)(v, y)))

    found = [ckpt.grad(lambda v, p=p: slope(v, p), patterns=p)(x) for p in (True, False)]
    np.testing.assert_allclose(*found, 1e-10, 1e-12)


def test_less_is_held_for_the_derivative():
    """Of the arrays as large as the logits, one less is alive at the peak."""
    x, y = ckpt.Spec((64, 4096), "float32"), ckpt.Spec((64,), "int64")

    def loss(x, y):
        return -np.mean(np.take_along_axis(cnp.log_softmax(np.tanh(x)), y[:, None], axis=-1))

    plans = [ckpt.value_and_grad(loss, patterns=p).plan_for(x, y) for p in (True, False)]
    assert plans[0].arena_bytes <= plans[1].arena_bytes
    assert plans[0].seconds < plans[1].seconds
