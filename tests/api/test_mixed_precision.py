"""Training as people write it: weights in f32, layers in a half, the loss in f32."""

import itertools

import ml_dtypes
import numpy as np
import pytest

import ckpt
import ckpt.numpy as cnp
from tests.laws.oracles import same_bits

HALVES = [np.float16, ml_dtypes.bfloat16]
RANDOM = np.random.default_rng(0)
SIZES = (16, *(32,) * 7, 10)
PARAMS = [
    {"w": RANDOM.normal(0, m**-0.5, (m, n)).astype(np.float32), "b": np.zeros(n, np.float32)}
    for m, n in itertools.pairwise(SIZES)
]
X = RANDOM.standard_normal((512, SIZES[0])).astype(np.float32)
LABELS = np.argmax(X[:, : SIZES[-1]], axis=1)


def make_loss(half, xp=np):
    def loss(params, x, labels):
        h = x.astype(half)
        for layer in params:
            h = xp.tanh(h @ layer["w"].astype(half) + layer["b"].astype(half))
        logits = h.astype(np.float32)
        shifted = logits - xp.max(logits, axis=1, keepdims=True)
        log_probability = shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
        return -xp.mean(xp.take_along_axis(log_probability, labels[:, None], axis=1))

    return loss


def descended(params, grads):
    return [
        {k: p[k] - np.float32(0.5) * g[k] for k in p} for p, g in zip(params, grads, strict=True)
    ]


def leaves(value, grads):
    return [value, *(g[k] for g in grads for k in g)]


@pytest.mark.parametrize("half", HALVES)
def test_training_under_a_budget_has_the_same_bits_and_learns(half):
    saved = ckpt.value_and_grad(make_loss(half))
    tight = ckpt.value_and_grad(make_loss(half), budget="0.75x")
    params, losses = PARAMS, []
    for _ in range(8):
        value, grads = tight(params, X, LABELS)
        wanted, want = saved(params, X, LABELS)
        assert same_bits(leaves(value, grads), leaves(wanted, want))
        losses.append(float(value))
        params = descended(params, grads)
    assert grads[0]["w"].dtype == np.float32
    assert losses[-1] < 0.9 * losses[0]
    assert tight.plan.peak_bytes < saved.plan.peak_bytes
    assert any(runs > 1 for runs in np.bincount([s.let for s in tight.plan.steps]))


@pytest.mark.parametrize("half", HALVES)
def test_gradients_agree_with_jax_in_the_same_dtypes(half):
    jax = pytest.importorskip("jax")
    value, grads = ckpt.value_and_grad(make_loss(half))(PARAMS, X, LABELS)
    wanted, want = jax.value_and_grad(make_loss(half, jax.numpy))(PARAMS, X, LABELS)
    digits = ml_dtypes.finfo(half).eps
    assert float(value) == pytest.approx(float(wanted), rel=2 * float(digits))
    for g, w in zip(grads, want, strict=True):
        for k in g:
            assert g[k].dtype == np.float32
            scale = float(np.abs(w[k]).max())
            np.testing.assert_allclose(g[k], w[k], rtol=0, atol=4 * float(digits) * scale)


@pytest.mark.parametrize("half", HALVES)
def test_a_half_takes_two_bytes_an_element(half):
    def chain(x):
        for _ in range(6):
            x = np.tanh(np.sin(x))
        return np.sum(x)

    x = np.linspace(-1, 1, 4096, dtype=np.float32)
    steps = [ckpt.value_and_grad(chain) for _ in range(2)]
    for step, of in zip(steps, (x, x.astype(half)), strict=True):
        step(of)
    wide, narrow = (step.plan.peak_bytes for step in steps)
    assert 0 <= 2 * narrow - wide <= 256  # a scalar takes a whole line


@pytest.mark.parametrize("half", HALVES)
def test_loops_carry_halves(half):
    def f(x, w):
        def body(h, _):
            h = np.tanh(h @ w)
            return h, np.sum(h)

        h, sums = ckpt.scan(body, x, None, length=12)
        return np.sum(h.astype(np.float32)) + np.sum(sums.astype(np.float32))

    def unrolled(x, w):
        total = np.float32(0)
        for _ in range(12):
            x = np.tanh(x @ w)
            total = total + np.sum(x).astype(np.float32)
        return np.sum(x.astype(np.float32)) + total

    x, w = (RANDOM.standard_normal(s).astype(half) for s in ((4, 8), (8, 8)))
    value, grads = ckpt.value_and_grad(f, argnums=(0, 1))(x, w)
    again, same = ckpt.value_and_grad(f, argnums=(0, 1), budget="0.8x")(x, w)
    assert same_bits([value, *grads], [again, *same])
    assert [g.dtype for g in grads] == [half, half]
    plain, wanted = ckpt.value_and_grad(unrolled, argnums=(0, 1))(x, w)
    assert float(value) == pytest.approx(float(plain), rel=0.02)
    for found, expected in zip(grads, wanted, strict=True):
        of = expected.astype(np.float32)
        near = 0.05 * float(np.abs(of).max())
        np.testing.assert_allclose(found.astype(np.float32), of, rtol=0, atol=near)


@pytest.mark.parametrize("half", HALVES)
def test_images_and_gathers(half):
    def net(image, kernel, table, index):
        y = cnp.avg_pool2d(np.tanh(cnp.conv2d(image, kernel, padding=1)), 2)
        rows = table[index]
        return np.sum(y.astype(np.float32) ** 2) + np.sum(rows.astype(np.float32) ** 2)

    image = RANDOM.standard_normal((2, 3, 8, 8))
    kernel = RANDOM.standard_normal((4, 3, 3, 3)) / 5
    table = RANDOM.standard_normal((9, 5))
    index = np.array([1, 1, 8, 0])
    args = [a.astype(half).astype(np.float32) for a in (image, kernel, table)]
    _, want = ckpt.value_and_grad(net, argnums=(0, 1, 2))(*args, index)
    _, got = ckpt.value_and_grad(net, argnums=(0, 1, 2))(*(a.astype(half) for a in args), index)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == half
        np.testing.assert_allclose(
            g.astype(np.float32), w, rtol=0, atol=0.06 * float(np.abs(w).max())
        )


def test_stages_keep_halves_in_files(tmp_path):
    def f(a, b):
        known = np.tanh(a @ a)
        return np.sum((known @ b).astype(np.float32))

    a, b = (RANDOM.standard_normal((6, 6)).astype(ml_dtypes.bfloat16) for _ in range(2))
    staged = ckpt.partial_eval(f, known=("a",), like=(a, b))
    residuals = staged.early(a)
    residuals.save(tmp_path / "a.safetensors")
    again = staged.load(tmp_path / "a.safetensors")
    assert same_bits([staged.late(again, b)], [staged.late(residuals, b)])
    assert same_bits([staged.late(residuals, b)], [ckpt.compile(f)(a, b)])
