"""Shapes, joining, padding, diagonals and creation against NumPy."""

import numpy as np
import pytest

X = np.arange(24, dtype="f4").reshape(2, 3, 4)
SQUARE = np.arange(20.0).reshape(4, 5)

CASES = {
    "reshape": lambda x: (x.reshape(6, 4), x.reshape((4, -1)), np.reshape(x, (24,)), x.reshape(-1)),
    "reshape order": lambda x: (x.reshape(6, 4, order="F"), x.ravel(order="F"), x.flatten("F")),
    "ravel": lambda x: (x.ravel(), np.ravel(x), x.flatten()),
    "transpose": lambda x: (
        x.T,
        x.transpose(1, 0, 2),
        x.transpose((2, 0, 1)),
        np.transpose(x),
        x.mT,
    ),
    "negative axes": lambda x: (np.transpose(x, (-1, 0, 1)), np.permute_dims(x, (1, 2, 0))),
    "swapaxes": lambda x: (x.swapaxes(0, -1), np.swapaxes(x, 1, 2)),
    "moveaxis": lambda x: (np.moveaxis(x, 0, -1), np.moveaxis(x, (0, 1), (-1, 0))),
    "rollaxis": lambda x: (np.rollaxis(x, 2), np.rollaxis(x, 0, 3), np.rollaxis(x, 1, -1)),
    "expand": lambda x: (np.expand_dims(x, 0), np.expand_dims(x, (1, -1)), x[None, ..., None]),
    "squeeze": lambda x: (
        x[None].squeeze(),
        np.squeeze(x[:, :1], 1),
        x[:, None, :1].squeeze((1, 2)),
    ),
    "atleast": lambda x: (np.atleast_1d(x[0, 0, 0]), np.atleast_2d(x[0, 0]), np.atleast_3d(x[0])),
    "atleast several": lambda x: np.atleast_2d(x[0, 0], x),
    "broadcast": lambda x: (np.broadcast_to(x, (5, 2, 3, 4)), np.broadcast_to(x[:, :1], x.shape)),
    "broadcast_arrays": lambda x: np.broadcast_arrays(x, x[0, 0], 2.5),
    "flip": lambda x: (np.flip(x), np.flip(x, 1), np.fliplr(x), np.flipud(x), np.flip(x, (0, -1))),
    "rot90": lambda x: [np.rot90(x, k) for k in range(-1, 5)] + [np.rot90(x, 1, (2, 1))],
    "tile": lambda x: (
        np.tile(x, 2),
        np.tile(x, (2, 1, 3)),
        np.tile(x, (2, 1, 1, 1)),
        np.tile(x, 0),
    ),
    "repeat": lambda x: (np.repeat(x, 2), x.repeat(3, 1), np.repeat(x, [1, 0, 2], axis=1)),
    "roll": lambda x: (
        np.roll(x, 5),
        np.roll(x, -1, 1),
        np.roll(x, (1, 2), (0, 2)),
        np.roll(x, 7, 2),
    ),
    "concatenate": lambda x: (np.concatenate([x, x], 1), np.concatenate((x, x[:0]), -1 * 3)),
    "concatenate flat": lambda x: np.concatenate([x, x[0]], None),
    "concatenate dtypes": lambda x: np.concatenate([x, np.ones((2, 3, 1))], 2),
    "concatenate as": lambda x: np.concatenate([x, x], dtype=np.float64),
    "stack": lambda x: (np.stack([x, x * 2]), np.stack([x, x], -1), np.stack([x[0, 0, 0], 1.0])),
    "stacks": lambda x: (
        np.vstack([x, x]),
        np.hstack([x, x]),
        np.dstack([x, x]),
        np.hstack([x[0, 0]] * 2),
    ),
    "column_stack": lambda x: np.column_stack([x[0, 0], x[0, 1], x[0].T]),
    "append": lambda x: (np.append(x, 1.5), np.append(x, x, axis=1)),
    "split": lambda x: (np.split(x, 2), np.split(x, [1, 3], axis=2), np.array_split(x, 3, 2)),
    "splits": lambda x: (
        np.vsplit(x, 2),
        np.hsplit(x, 3),
        np.dsplit(x, [1, 9]),
        np.split(x, [2, 1], 1),
    ),
    "unpack": lambda x: [a * 2 for a in x] + [len(x)],
    "copy": lambda x: (x.copy(), np.copy(x)),
    "diff": lambda x: (np.diff(x * x), np.diff(x, 2, 0), np.diff(x, axis=1, prepend=0, append=x)),
    "trapezoid": lambda x: (
        np.trapezoid(x),
        np.trapezoid(x, dx=0.5, axis=0),
        np.trapezoid(x, [0, 1, 4], axis=1),
    ),
    "astype": lambda x: (x.astype("f8"), x.astype(np.int32), x.astype(bool), (x * 0.3).astype(int)),
    "like": lambda x: (
        np.zeros_like(x),
        np.ones_like(x, dtype=int),
        np.full_like(x, 2.5),
        np.full_like(x, x[0]),
    ),
    "like shape": lambda x: (np.zeros_like(x, shape=(2,)), np.full_like(x, 1, shape=3)),
    "shape": lambda x: np.zeros(x.shape)[: x.ndim] + x.size + np.size(x, 1) + np.ndim(x) + x.nbytes,
    "matrix_transpose": lambda x: (np.matrix_transpose(x), np.linalg.matrix_transpose(x)),
    "kinds": lambda x: [x * np.iscomplexobj(x), x * np.isrealobj(x)],
    "empty_like": lambda x: np.empty_like(x) * 0,
    "new": lambda x: (np.zeros(3, like=x), np.ones((2, 1), int, like=x), np.full(2, 2.5, like=x)),
    "new filled": lambda x: (np.full((2, 4), x[0, 0], like=x), np.full(2, x[0, 0, 1], int, like=x)),
    "new others": lambda x: (np.eye(3, like=x), np.arange(4, like=x), np.empty(2, like=x) * 0),
    "converted": lambda x: (np.asarray(x, like=x), np.array([1, 2], like=x), x + 1),
    "real": lambda x: (x.real, x.imag, np.real(x), x.conj()),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes(same, name):
    same(CASES[name], X)
    same(CASES[name], X.astype("i8"))


@pytest.mark.skipif(not hasattr(np, "unstack"), reason="np.unstack is of NumPy 2.1")
def test_unstack(same):
    same(lambda x: np.unstack(x, axis=1), X)


@pytest.mark.parametrize("k", [-5, -3, -1, 0, 1, 3, 6])
def test_diagonals(same, k):
    same(lambda x: (np.diagonal(x, k), np.trace(x, k), np.diag(x, k), x.diagonal(k)), SQUARE)
    same(
        lambda x: (np.tril(x, k), np.triu(x, k), np.diag(x[0], k), np.diagflat(x[:2, :2], k)),
        SQUARE,
    )
    same(lambda x: (np.diagonal(x, k, 2, 0), np.trace(x, k, 1, 2), np.tril(x, k)), X)
    same(lambda x: (np.tril(x, k), np.triu(x, k)), np.arange(1, 4))
    same(lambda x: np.diag(x, k), np.zeros(0))


def test_linalg_diagonals(same):
    same(lambda x: (np.linalg.diagonal(x, offset=1), np.linalg.trace(x)), X)
    same(np.trace, np.arange(6, dtype="i4").reshape(2, 3))


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("width", [1, (2, 0), ((0, 1), (2, 3)), ((5, 7), (9, 4)), 0])
def test_pad(same, mode, width):
    same(lambda x: np.pad(x, width, mode), SQUARE[:3, :4])
    same(lambda x: np.pad(x, width, mode), SQUARE[:1, :4])


def test_pad_constant(same, run):
    same(lambda x: (np.pad(x, 1), np.pad(x, ((1, 2), (0, 0)), constant_values=3)), SQUARE)
    same(lambda x: np.pad(x, ((1, 2), (3, 0)), constant_values=((1, 2), (3, 4))), SQUARE)
    same(lambda x, v: np.pad(x, 2, constant_values=v), SQUARE, 1.5)
    same(lambda x: np.pad(x, ((1, 1), (0, 2))), SQUARE[:0])
    with pytest.raises(ValueError, match="empty axis"):
        run(lambda x: np.pad(x, 1, "edge"), SQUARE[:0])


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: x.reshape(5, 5), "cannot reshape array of size 24"),
        (lambda x: np.squeeze(x, 1), "size not equal to one"),
        (lambda x: np.concatenate([x, x[:, :2]]), "differ beyond axis 0"),
        (lambda x: np.stack([x, x[0]]), "same shape"),
        (lambda x: np.split(x, 5), "equal division"),
        (lambda x: np.broadcast_to(x, (2, 3)), "broadcast"),
        (lambda x: np.sum(x, axis=3), "axis 3 is out of bounds"),
    ],
)
def test_errors_are_numpys(run, f, error):
    with pytest.raises(ValueError, match=error):
        run(f, X)
