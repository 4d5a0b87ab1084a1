"""Stencils around the edge: whatever they are written as, they mean what NumPy says."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from ckpt.api.derive import prepared
from ckpt.frontends.numpy import trace
from ckpt.ir.interpret import interpret


@st.composite
def stencils(draw):
    """A function of one field, made of neighbours said in different ways, and its shape."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    rank = len(shape)
    terms = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["roll", "pad", "pieces"]))
        axis = draw(st.integers(0, rank - 1))
        rim = draw(st.integers(1, shape[axis]))
        by = draw(st.integers(-rim, rim))
        terms.append((kind, axis, rim, by))
    return shape, terms


def neighbour(x, kind, axis, rim, by):
    n = x.shape[axis]
    cut = [slice(None)] * x.ndim
    if kind == "roll":
        return np.roll(x, by, axis)
    if kind == "pad":
        width = [(rim, rim) if a == axis else (0, 0) for a in range(x.ndim)]
        cut[axis] = slice(rim - by, rim - by + n)
        return np.pad(x, width, mode="wrap")[tuple(cut)]
    pieces = []
    for part in (slice(n - by % n, n), slice(0, n - by % n)):
        cut[axis] = part
        pieces.append(x[tuple(cut)])
    return np.concatenate(pieces, axis)


@given(stencils())
def test_neighbours_are_rolls_of_the_field_itself(stencil):
    shape, terms = stencil

    def f(x):
        return [neighbour(x, *term) for term in terms]

    program = prepared(trace(f, (ckpt.Spec(shape, "float64"),)).program)
    assert {e.op.name for e in program.eqns} <= {"roll"}
    x = np.random.default_rng(0).normal(size=shape)
    for got, wanted in zip(interpret(program, x), f(x), strict=True):
        np.testing.assert_array_equal(got, wanted)


@settings(max_examples=10)
@given(stencils())
def test_gradients_of_stencils_are_those_of_their_matrices(stencil):
    """With `y = x * (M x)` for a matrix M of neighbours, the gradient of `sum(c y)` is known."""
    shape, terms = stencil
    rng = np.random.default_rng(1)
    x, c = rng.normal(size=shape), rng.normal(size=shape)

    def loss(x):
        return np.sum(c * x * sum(neighbour(x, *term) for term in terms))

    unit = np.eye(x.size).reshape(x.size, *shape)
    columns = [sum(neighbour(e, *term) for term in terms).ravel() for e in unit]
    m = np.stack(columns, axis=1)
    wanted = c.ravel() * (m @ x.ravel()) + m.T @ (c * x).ravel()
    for fusion in (True, False):
        value, grad = ckpt.value_and_grad(loss, fusion=fusion)(x)
        np.testing.assert_allclose(value, loss(x), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(grad.ravel(), wanted, rtol=1e-10, atol=1e-12)
