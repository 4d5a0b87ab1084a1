"""Layer normalisation, however it is written, keeps a few numbers per row and nothing else more.

It needs no pattern: its sums are fused with what they sum, and the way back reads the same rows.
"""

import numpy as np
import pytest

import ckpt

ROWS, WIDTH, LEAST = 64, 128, 1e-5
MATRIX_BYTES = 8 * ROWS * WIDTH


def centred(x):
    return x - x.mean(-1, keepdims=True)


def along_columns(x, gain, bias):
    return ((x.T - x.mean(1)) / np.sqrt(x.var(1) + LEAST)).T * gain + bias


def by_einsum(x, gain, bias):
    squares = np.einsum("ij,ij->i", centred(x), centred(x))[:, None]
    return centred(x) / np.sqrt(squares / x.shape[1] + LEAST) * gain + bias


SPELLINGS = {
    "var": lambda x, g, b: centred(x) / np.sqrt(x.var(-1, keepdims=True) + LEAST) * g + b,
    "reciprocal": lambda x, g, b: (
        centred(x) * (1 / np.sqrt(x.var(-1, keepdims=True) + LEAST)) * g + b
    ),
    "power": lambda x, g, b: g * (centred(x) * (x.var(-1, keepdims=True) + LEAST) ** -0.5) + b,
    "gain first": lambda x, g, b: g * centred(x) / np.sqrt(x.var(-1, keepdims=True) + LEAST) + b,
    "new axes": lambda x, g, b: (
        (x - x.mean(1)[:, None]) / np.sqrt(x.var(1)[:, None] + LEAST) * g + b
    ),
    "sum of squares": lambda x, g, b: (
        centred(x) / np.sqrt((centred(x) ** 2).sum(-1, keepdims=True) / x.shape[1] + LEAST) * g + b
    ),
    "along columns": along_columns,
    "einsum": by_einsum,
}
OTHERS = {
    "std": lambda x, g, b: centred(x) / (x.std(-1, keepdims=True) + LEAST) * g + b,
    "sample variance": lambda x, g, b: (
        centred(x) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + LEAST) * g + b
    ),
    "root mean square": lambda x, g, b: (
        x / np.sqrt((x * x).mean(-1, keepdims=True) + LEAST) * g + b
    ),
}


def loss_of(norm):
    def loss(params, x):
        first, gain, bias, second = params
        return np.sum(np.tanh(norm(x @ first, gain, bias) @ second) ** 2)

    return loss


def arguments():
    rng = np.random.default_rng(0)
    first, second, x = (rng.normal(size=s) for s in [(WIDTH, WIDTH)] * 2 + [(ROWS, WIDTH)])
    return (first, rng.normal(size=WIDTH), rng.normal(size=WIDTH), second / 64), x


@pytest.mark.parametrize("name", SPELLINGS | OTHERS)
def test_rows_keep_a_few_numbers(name):
    """What is kept is the product, the normalised rows that the next product reads, and tanh."""
    step = ckpt.value_and_grad(loss_of((SPELLINGS | OTHERS)[name]))
    plan = step.plan_for(*arguments())
    assert plan.arena_bytes <= 3 * MATRIX_BYTES + 5 * 8 * ROWS


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_have_the_same_gradient(name):
    params, x = arguments()
    _, wanted = ckpt.value_and_grad(loss_of(SPELLINGS["var"]))(params, x)
    _, got = ckpt.value_and_grad(loss_of(SPELLINGS[name]))(params, x)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=1e-12 * np.abs(w).max())


@pytest.mark.parametrize("name", ["var", *OTHERS])
def test_gradients_agree_with_differences(name):
    params, x = arguments()
    loss = loss_of((SPELLINGS | OTHERS)[name])
    _, grads = ckpt.value_and_grad(loss)(params, x)
    rng = np.random.default_rng(1)
    way = [rng.normal(size=p.shape) for p in params]
    eps = 1e-6
    ahead, behind = (
        loss([p + s * eps * d for p, d in zip(params, way, strict=True)], x) for s in (1, -1)
    )
    slope = sum(np.vdot(g, d) for g, d in zip(grads, way, strict=True))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * eps), rtol=1e-6)
