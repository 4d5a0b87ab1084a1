"""Patterns of halves: recognised as others are, worked out in f32, and nearer to the truth."""

import ml_dtypes
import numpy as np
import pytest

import ckpt
import ckpt.numpy as cnp

RANDOM = np.random.default_rng(0)


def attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / 4.0
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.sum((powers / powers.sum(-1, keepdims=True) @ v).astype(np.float32) ** 2)


def cross_entropy(x, w, y):
    logits = x @ w
    picked = np.take_along_axis(cnp.log_softmax(logits), y[:, None], axis=-1)
    return -np.mean(picked.astype(np.float32))


def gradients(f, args, **options):
    floats = tuple(i for i, x in enumerate(args) if x.dtype.kind != "i")
    step = ckpt.value_and_grad(f, argnums=floats, **options)
    value, grads = step(*args)
    names = {e.op.name for e in step.joint_for(*args).program.eqns}
    return [np.asarray(x, np.float32) for x in (value, *grads)], names


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("f", [attention, cross_entropy])
def test_patterns_of_halves(f, half):
    shapes = [(2, 20, 16)] * 3 if f is attention else [(30, 16), (16, 12)]
    args = [RANDOM.standard_normal(s).astype(half) for s in shapes]
    args += [] if f is attention else [RANDOM.integers(0, 12, 30)]
    exact = [x if x.dtype.kind == "i" else x.astype(np.float32) for x in args]
    truth, _ = gradients(f, exact)
    found, names = gradients(f, args)
    plain, others = gradients(f, args, patterns=False)
    name = "attention" if f is attention else "log_sum_exp"
    assert name in names
    assert name not in others
    for got, without, want in zip(found, plain, truth, strict=True):
        largest = float(np.abs(want).max())
        off = float(np.abs(got - want).max())
        assert off < 16 * float(ml_dtypes.finfo(half).eps) * largest
        assert off < 2 * float(np.abs(without - want).max()) + 1e-6
