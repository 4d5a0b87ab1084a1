"""Matrix products, einsum and norms against NumPy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt.errors import UnsupportedOpError
from ckpt.frontends.numpy import Spec, trace

random = np.random.default_rng(0)
A, B, V = random.normal(size=(3, 4)), random.normal(size=(4, 5)), random.normal(size=4)
S, T = random.normal(size=(2, 3, 4)), random.normal(size=(2, 4, 5))

MATMUL = [
    (A, B), (A, V), (V, B), (V, V), (S, B), (S, V), (A, T), (V, T), (S, T), (S[:1], T), (S[0], T),
    (S[:, None], T), (S[:0], T[:0]), (S[:, :, :0], T[:, :0]), (S[None], T[:, None]),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(MATMUL)))
def test_matmul(same, i):
    a, b = MATMUL[i]
    same(lambda a, b: (a @ b, np.matmul(a, b)), a, b)
    same(lambda a: a @ b, a)
    same(lambda b: a @ b, b)
    same(np.matmul, a.astype("f4"), b)
    same(np.matmul, (a * 3).astype("i4"), (b * 3).astype("i8"))
    same(np.matmul, a > 0, b > 0)


def test_products(same):
    same(lambda a, b: (np.dot(a, b), a.dot(b), np.dot(2.0, a), np.dot(a, 3)), A, B)
    same(lambda s, t: (np.dot(s, t), np.dot(s, t[0]), np.dot(s[0, 0], t[0])), S, T)
    same(lambda s, v: (np.inner(s, v), np.inner(s, s[0]), np.inner(v, v), np.inner(2, v)), S, V)
    same(lambda v, a: (np.outer(v, a), np.linalg.outer(v, v), np.vdot(v, v)), V, A)
    same(lambda s: np.vdot(s, s), S)
    same(lambda s, t: (np.tensordot(s, s, 3), np.tensordot(s, t, ((0, 2), (0, 1)))), S, T)
    same(
        lambda s, b: (np.tensordot(s, b, 1), np.tensordot(s, b, 0), np.tensordot(b, s, (0, 2))),
        S,
        B,
    )
    same(np.vecdot, S, V)
    same(
        lambda s: (np.linalg.vecdot(s, s, axis=0), np.linalg.tensordot(s, s[0], axes=1)),
        S[:, :, :3],
    )
    same(lambda a, b: np.linalg.multi_dot([a, b, b.T, a.T[:, 0]]), A, B)
    same(lambda a: np.linalg.matrix_power(a, 5), random.normal(size=(2, 3, 3)))
    same(lambda a, b: (np.cross(a, b), np.cross(a, b[0])), S[..., :3], S[..., 1:])


@pytest.mark.skipif(not hasattr(np, "matvec"), reason="np.matvec is of NumPy 2.2")
def test_matvec(same):
    same(lambda s, v: (np.matvec(s, v), np.vecmat(s[0, 0], np.swapaxes(s, 1, 2))), S, V)


EINSUM = [
    ("ij,jk->ik", (A, B)), ("ij,jk", (A, B)), ("ij->ji", (A,)), ("ij", (A,)), ("ji", (A,)),
    ("ii", (A[:, :3],)), ("ii->i", (A[:, :3],)), ("iij->j", (S[:, :2],)), ("iji->j", (S[..., :2],)),
    ("ij->", (A,)), ("ij->j", (A,)), ("i,i", (V, V)), ("i,j->ij", (V, V)), ("i,j", (V, A[:, 0])),
    ("ij,ij->ij", (A, A)), ("ij,ij", (A, A)), ("ij,j->i", (A, V)), ("ij,kj->ik", (A, A)),
    ("bij,bjk->bik", (S, T)), ("bij,bjk->ikb", (S, T)), ("bij,bkj->bik", (S, S)),
    ("...j,j->...", (S, V)), ("...ij,...jk->...ik", (S, T)), ("...ij,...jk", (S, T[:1])),
    ("i...->...", (S,)), ("i...", (S,)), ("b...j,...j->...b", (S, V)), ("...,...->...", (S, V)),
    ("ij,jk,kl->il", (A, B, B.T)), ("ij,jk,j,ik->", (A, B, V, A @ B)), ("a,b,c->abc", (V, V, V)),
    ("ij,jk->", (A, B)), ("ijk,ilm->jkl", (S, T)), ("ij,ij->i", (A[:, :1], A)),
    ("ij,kj->ik", (A[:, :1], A)),
    ("i i , i", (A[:, :3], A[:, 0])), ("ij,jj->i", (A, random.normal(size=(4, 4)))),
    ("bhqd,bhkd->bhqk", (random.normal(size=(2, 3, 4, 5)), random.normal(size=(2, 3, 6, 5)))),
    ("ij,jk->ik", (A[:0], B)), ("ij->i", (A[:, :0],)),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(EINSUM)), ids=[e[0] for e in EINSUM])
def test_einsum(same, i):
    text, operands = EINSUM[i]
    same(lambda *xs: np.einsum(text, *xs), *operands)
    same(lambda *xs: np.einsum(text, *xs), *(x.astype("f4") for x in operands), rtol=1e-4)
    same(lambda *xs: np.einsum(text, *xs), *((x * 4).astype("i4") for x in operands))
    same(lambda *xs: np.einsum(text, *xs), *(x > 0 for x in operands))


def test_einsum_with_lists(same):
    same(lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), A, B)
    same(lambda a, b: np.einsum(a, [7, 1], b, [1, 2]), A, B)
    same(lambda s, v: np.einsum(s, [..., 1], v, [1], [...]), S, V)
    same(
        lambda a, b: np.einsum("ij,jk->ik", a, b, dtype=np.float64, optimize=True),
        A.astype("f4"),
        B,
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_einsum(same, data):
    lengths = dict(zip("abcde", (2, 3, 1, 4, 2), strict=True))
    label = st.sampled_from("abcde")
    terms = data.draw(st.lists(st.lists(label, max_size=3), min_size=1, max_size=4))
    used = sorted({k for t in terms for k in t})
    result = data.draw(st.permutations(used)) if used else []
    result = result[: data.draw(st.integers(0, len(result)))]
    text = ",".join(map("".join, terms)) + "->" + "".join(result)
    xs = [
        np.arange(1.0, 1 + np.prod([lengths[k] for k in t], dtype=int)).reshape(
            [lengths[k] for k in t]
        )
        for t in terms
    ]
    same(lambda *xs: np.einsum(text, *xs), *xs, rtol=1e-12)


def test_einsum_never_repeats_what_it_can_sum():
    spec = Spec((8, 64), np.float32)
    program = trace(lambda a, b, c: np.einsum("ij,kj,kl->il", a, b, c), (spec, spec, spec)).program
    assert [e.op.name for e in program.eqns if e.op.name == "dot"] == ["dot", "dot"]
    assert max(v.type.size for v in program.bound()) == 8 * 64


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda a: a @ a, "matmul: shapes"),
        (lambda a: np.dot(a, a), r"np\.dot: shapes"),
        (lambda a: np.tensordot(a, a, 1), r"np\.tensordot: axes"),
        (lambda a: np.einsum("ij,jk", a, a), "one label has lengths 4 and 3"),
        (lambda a: np.einsum("ijk", a), "3 labels for an operand of 2 axes"),
        (lambda a: np.einsum("i%", a), "is not a label"),
        (lambda a: np.einsum("ij,jk", a), "names 2 operands and got 1"),
    ],
)
def test_errors_name_the_line(run, f, error):
    with pytest.raises(ValueError, match=f"{error}.*test_products.py:"):
        run(f, A)


def test_cholesky(same, run):
    a = S @ np.swapaxes(S, 1, 2) + np.eye(3)
    same(lambda a: (np.linalg.cholesky(a), np.linalg.cholesky(a[0], upper=True)), a)
    same(np.linalg.cholesky, np.asarray([[4, 2], [2, 3]]))
    assert np.isnan(run(np.linalg.cholesky, -a)).all()
    with pytest.raises(np.linalg.LinAlgError, match="must be square"):
        run(np.linalg.cholesky, A)


def test_norms(same, run):
    x = S - 0.1
    same(lambda x: (np.linalg.norm(x), np.linalg.norm(x, axis=1), np.linalg.norm(x[0])), x)
    for order in (None, 0, 1, 2, 3, 2.5, np.inf, -np.inf):
        same(lambda x: np.linalg.norm(x, order, axis=-1, keepdims=True), x)
        same(lambda x: np.linalg.norm(x[0, 0], order), x.astype("f4"))
    for order in ("fro", 1, -1, np.inf, -np.inf):
        same(lambda x: np.linalg.norm(x, order, axis=(0, 2)), x)
        same(lambda x: np.linalg.norm(x, order, axis=(2, 0), keepdims=True), x)
        same(lambda x: np.linalg.matrix_norm(x, ord=order), x)
    same(lambda x: np.linalg.vector_norm(x, axis=(0, 1), ord=1, keepdims=True), x)
    same(np.linalg.norm, np.arange(5))
    with pytest.raises(UnsupportedOpError, match="'nuc'"):
        run(lambda x: np.linalg.norm(x, "nuc"), A)
